import { CulvertError } from '@culvert/protocol';

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * A moment as a person writes it: how long ago (`90s`, `15m`, `1h`, `7d`), or a date or time that ISO 8601 allows.
 * @param now milliseconds since the epoch
 * @returns RFC 3339 in UTC
 * @throws CulvertError `usage`
 */
export function pointInTime(flag: string, text: string, now: number): string {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const ago = count === undefined || unit === undefined ? undefined : Number(count) * (UNITS[unit] ?? 0);
  const at = ago === undefined ? (/^\d{4}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN) : now - ago;
  // Dates before the epoch are nobody's; those beyond what a Date holds are NaN.
  if (at >= 0) return new Date(at).toISOString();
  throw new CulvertError('usage', `${flag} '${text}' is neither an age such as 15m, 1h or 7d nor a date or time`);
}
