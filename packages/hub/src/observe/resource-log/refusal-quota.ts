import { type Identity, identityName } from '@culvert/protocol';

const MINUTE_MS = 60_000;

/**
 * Refusals recorded in one minute. Unauthenticated clients cause them at will: at 0.8 KB each, a month of all twenty is 700 MB, and the oldest go
 * when the store is full. The two kinds have their own share, so that none fills the other's.
 */
const A_MINUTE = {
  /** For what names no registered device or module. */
  anonymous: 12,
  /** For those that name one: these are wrong keys and certificates of real devices. */
  registered: 8,
};

/** Of these, one network's at one listener, and one device's or module's: a source that repeats itself leaves room for others. */
const OF_ONE = { anonymous: 3, registered: 2 };

/** The fields of a refusal that the quota uses. */
export interface RefusalOrigin {
  readonly listener: string;
  readonly remoteAddress: string;
  /** The identity that the client claimed, if it exists. */
  readonly registered: Identity | undefined;
}

/** Says which refusals are recorded. */
export class RefusalQuota {
  #minute = 0;
  /** By kind, then by source: no more sources than are recorded in a minute. */
  #taken = { anonymous: new Map<string, number>(), registered: new Map<string, number>() };

  /** Whether this one is to be recorded. */
  take({ listener, remoteAddress, registered }: RefusalOrigin, now: number): boolean {
    const minute = Math.floor(now / MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#taken = { anonymous: new Map(), registered: new Map() };
    }
    const kind = registered === undefined ? 'anonymous' : 'registered';
    const source = registered === undefined ? `${listener} ${networkOf(remoteAddress)}` : identityName(registered);
    const taken = this.#taken[kind];
    const ofSource = taken.get(source) ?? 0;
    const all = [...taken.values()].reduce((sum, count) => sum + count, 0);
    if (all >= A_MINUTE[kind] || ofSource >= OF_ONE[kind]) return false;
    taken.set(source, ofSource + 1);
    return true;
  }
}

/** What one client has for itself: an IPv4 address, or 64 bits of an IPv6 one. */
function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::');
  const left = groups(head);
  if (tail === undefined) return left.slice(0, 4).join(':');
  const right = groups(tail);
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  return [...left, ...zeros, ...right].slice(0, 4).join(':');
}

function groups(text: string): string[] {
  return text === '' ? [] : text.split(':');
}
