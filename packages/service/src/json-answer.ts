import { CulvertError } from '@culvert/protocol';

/**
 * Parses an answer's body as an object that has at least the given string fields. The hub is trusted to send the other fields correctly; this check
 * only detects answers that are not from a hub, such as those of a captive portal.
 * @throws CulvertError `protocol_error` for any other body
 */
export function jsonObject<T extends object>(body: string, ...fields: (keyof T & string)[]): T {
  const value = parse(body);
  if (!isObjectWith(value, fields)) throw unexpected();
  return value as T;
}

/** Checks an array of such objects. @throws CulvertError as {@link jsonObject} */
export function objectsOf<T extends object>(value: unknown, ...fields: (keyof T & string)[]): T[] {
  if (!Array.isArray(value) || !value.every((item) => isObjectWith(item, fields))) throw unexpected();
  return value as T[];
}

/** Parses a body as an array of such objects. @throws CulvertError as {@link jsonObject} */
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
