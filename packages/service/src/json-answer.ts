import { CulvertError } from '@culvert/protocol';

/**
 * An answer's body as the object or array it must be, with at least the string fields named.
 * The hub is trusted to fill in the other fields; this check detects responses that are not from a hub, such as a captive portal.
 * @throws CulvertError `protocol_error`
 */
export function jsonObject<T extends object>(body: string, ...fields: (keyof T & string)[]): T {
  const value = parse(body);
  if (!isObjectWith(value, fields)) throw unexpected();
  return value as T;
}

/** The same for an array of such objects. */
export function objectsOf<T extends object>(value: unknown, ...fields: (keyof T & string)[]): T[] {
  if (!Array.isArray(value) || !value.every((item) => isObjectWith(item, fields))) throw unexpected();
  return value as T[];
}

/** The array of such objects that a body is. */
export function jsonObjects<T extends object>(body: string, ...fields: (keyof T & string)[]): T[] {
  return objectsOf<T>(parse(body), ...fields);
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    throw unexpected(error);
  }
}

function isObjectWith(value: unknown, fields: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const record = value as Record<string, unknown>;
  return fields.every((field) => typeof record[field] === 'string');
}

function unexpected(cause?: unknown): CulvertError {
  return new CulvertError('protocol_error', 'The answer is not what a hub sends. Is this the address of a hub?', {
    cause,
  });
}
