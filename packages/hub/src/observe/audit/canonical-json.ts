import type { AuditValue } from '@culvert/protocol';

/** Maximum nesting depth; a record has three levels. The limit keeps a foreign file from exhausting the stack. */
const MAX_DEPTH = 16;

/**
 * The canonical JSON text of a value (RFC 8785): without white space, with keys sorted by their UTF-16 code units, and with numbers in ECMAScript's
 * notation, as the RFC requires. Fields that are undefined are left out.
 * @throws RangeError if the value is nested more than 16 levels deep
 */
export function canonicalJson(value: AuditValue, depth = 0): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (depth === MAX_DEPTH) throw new RangeError('Nested too deep.');
  if (isList(value)) return `[${value.map((inner) => canonicalJson(inner, depth + 1)).join(',')}]`;
  const fields = Object.keys(value)
    .sort()
    .flatMap((key) => {
      const inner = value[key];
      return inner === undefined ? [] : [`${JSON.stringify(key)}:${canonicalJson(inner, depth + 1)}`];
    });
  return `{${fields.join(',')}}`;
}

/** `Array.isArray` does not narrow a readonly list. */
function isList(value: object): value is readonly AuditValue[] {
  return Array.isArray(value);
}
