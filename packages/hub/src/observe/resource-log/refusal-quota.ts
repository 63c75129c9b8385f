import { type Identity, identityName } from '@culvert/protocol';

const MINUTE_MS = 60_000;

/**
 * Maximum refusals recorded in one minute. Any unauthenticated client can cause refusals: at 0.8 KB each, twenty per minute are 700 MB in a month,
 * and a full store deletes its oldest records. Each of the two kinds has a limit of its own, so that neither uses up the other's.
 */
const MAX_PER_MINUTE = {
  /** Refusals of clients that claim no registered device or module. */
  anonymous: 12,
  /** Refusals of clients that claim a registered one: wrong keys and certificates of real devices. */
  registered: 8,
};

/** Of these, the maximum per network and listener (anonymous), and per device or module (registered), so that one source leaves room for others. */
const MAX_PER_SOURCE = { anonymous: 3, registered: 2 };

/** The fields of a refusal that the quota uses. */
export interface RefusalOrigin {
  readonly listener: string;
  readonly remoteAddress: string;
  /** The identity that the client claimed, if it is registered. */
  readonly registered: Identity | undefined;
}

/** Decides which refusals are recorded. */
export class RefusalQuota {
  #minute = 0;
  /** The number of recorded refusals by kind and source; has at most {@link MAX_PER_MINUTE} entries per kind. */
  #recorded = { anonymous: new Map<string, number>(), registered: new Map<string, number>() };

  /** Whether to record this refusal; if so, counts it. */
  take({ listener, remoteAddress, registered }: RefusalOrigin, now: number): boolean {
    const minute = Math.floor(now / MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#recorded = { anonymous: new Map(), registered: new Map() };
    }
    const kind = registered === undefined ? 'anonymous' : 'registered';
    const source = registered === undefined ? `${listener} ${networkOf(remoteAddress)}` : identityName(registered);
    const taken = this.#recorded[kind];
    const ofSource = taken.get(source) ?? 0;
    const all = [...taken.values()].reduce((sum, count) => sum + count, 0);
    if (all >= MAX_PER_MINUTE[kind] || ofSource >= MAX_PER_SOURCE[kind]) return false;
    taken.set(source, ofSource + 1);
    return true;
  }
}

/** The network of one client: an IPv4 address, or the first 64 bits of an IPv6 address. */
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
