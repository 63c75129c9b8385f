import { CulvertError } from '@culvert/protocol';

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/**
 * A time of a flag: so long ago (`30s`, `15m`, `1h`, `2d`, `1w`), or ISO 8601; without a zone it is this machine's.
 * @param now milliseconds since the epoch
 * @throws CulvertError `usage`
 */
export function parseLogTime(flag: string, text: string, now: number): Date {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined)
    return new Date(now - Number(count) * UNITS[unit as keyof typeof UNITS]);
  // A bare date is a day of this machine too, which Date takes for one of UTC.
  const iso = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text;
  const time = /^\d{4}-\d{2}-\d{2}T/.test(iso) ? new Date(iso) : undefined;
  if (time === undefined || Number.isNaN(time.getTime())) {
    throw new CulvertError(
      'usage',
      `${flag}: '${text}' is neither a duration such as 1h nor a time such as 2026-01-31T12:00Z`,
    );
  }
  return time;
}
