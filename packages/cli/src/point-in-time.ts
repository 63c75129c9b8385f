import { CulvertError } from '@culvert/protocol';

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/**
 * A moment as a person writes it: so long ago (`30s`, `15m`, `1h`, `2d`, `1w`), or ISO 8601; without a zone it is this machine's.
 * @param now milliseconds since the epoch
 * @throws CulvertError `usage`
 */
export function pointInTime(flag: string, text: string, now: number): Date {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  const ago = count === undefined || unit === undefined ? undefined : Number(count) * UNITS[unit as keyof typeof UNITS];
  // A bare date is a day of this machine too, which Date takes for one of UTC.
  const iso = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text;
  const at = ago === undefined ? (/^\d{4}-\d{2}-\d{2}T/.test(iso) ? Date.parse(iso) : Number.NaN) : now - ago;
  // Before the epoch nothing was recorded; what a Date cannot hold is NaN.
  if (at >= 0) return new Date(at);
  throw new CulvertError(
    'usage',
    `${flag}: '${text}' is neither a duration such as 1h nor a time such as 2026-01-31T12:00Z`,
  );
}
