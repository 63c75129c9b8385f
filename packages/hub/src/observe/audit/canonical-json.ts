import type { AuditValue } from '@culvert/protocol';

/** Maximum nesting depth; a record has three levels. A foreign file must not exhaust the stack. */
const MAX_DEPTH = 16;

/**
 * The canonical form: one text for one value (RFC 8785): no white space, keys in the order of their UTF-16 units. Numbers as ECMAScript writes them, which is
 * what the RFC asks for. Fields that are undefined are left out.
 * @throws RangeError when it is nested deeper than 16
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
