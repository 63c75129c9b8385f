import { CulvertError } from '@culvert/protocol';

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/**
 * Parses a time: an age (`30s`, `15m`, `1h`, `2d`, `1w`), or ISO 8601, in this machine's time zone if it names none.
 * @param now milliseconds since the epoch
 * @throws CulvertError `usage`
 */
export function pointInTime(flag: string, text: string, now: number): Date {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  const ago = count === undefined || unit === undefined ? undefined : Number(count) * UNITS[unit as keyof typeof UNITS];
  // A bare date is also in this machine's time zone; Date would parse it as UTC.
  const iso = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text;
  const at = ago === undefined ? (/^\d{4}-\d{2}-\d{2}T/.test(iso) ? Date.parse(iso) : Number.NaN) : now - ago;
  // Nothing was recorded before the epoch. A time that a Date cannot hold is NaN, which also fails this comparison.
  if (at >= 0) return new Date(at);
  throw new CulvertError(
    'usage',
    `${flag}: '${text}' is neither a duration such as 1h nor a time such as 2026-01-31T12:00Z`,
  );
}
