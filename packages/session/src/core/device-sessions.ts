import { Budget } from './budget.ts';
import type { SessionConnection } from './connection.ts';
import { DeviceSession } from './device-session.ts';
import type { SessionEnvironment } from './environment.ts';
import type { ConnectionReason } from './frame.ts';
import {
  ARRIVE_MS,
  encodeHello,
  equalBytes,
  HELLO_MS,
  type Hello,
  NONCE_BYTES,
  proofInput,
  SESSION_VERSIONS,
  withoutSecret,
} from './hello.ts';
import { Link, type LinkEvents, type LinkTransport } from './link.ts';
import type { SessionEnd } from './session-core.ts';

/** Sessions of a device, at once. */
const MAX_SESSIONS = 256;
/** Bytes that rings, queues and receive windows of all sessions may use together beyond their first sizes. */
const DEFAULT_BUDGET_BYTES = 67_108_864;
/** Ids of expired sessions that are remembered: their owners get a better answer than `unknown`. */
const MAX_EXPIRED = 1_024;
/** Milliseconds for which they are. */
const EXPIRED_MS = 3_600_000;

/** What the hub's offer says about a link. */
export interface LinkOffer {
  readonly sessionId: Uint8Array;
  /** The stream's id in the hub's logs; undefined if it is not known. */
  readonly streamId?: string | undefined;
  /** The principal that asked for the stream. */
  readonly caller: string;
  /** Whether the caller may open this service. */
  readonly mayOpen: (service: string) => boolean;
  readonly idleMs?: number | undefined;
  /** The fingerprint of the key that the service side has proved on this link; empty without one. */
  readonly peerKey?: string | undefined;
}

/** Whose sessions these are, who is told what, and their limits. */
export interface DeviceSessionsOptions {
  readonly environment: SessionEnvironment;
  readonly deviceId: string;
  /** Empty for the device itself. */
  readonly moduleId: string;
  /** A connection was opened. The receiver sets its `events`, then accepts or refuses it, now or later. */
  readonly opened: (connection: SessionConnection, session: DeviceSession) => void;
  readonly connectionClosed?: (
    connection: SessionConnection,
    reason: ConnectionReason | undefined,
    session: DeviceSession,
  ) => void;
  readonly linkLost?: (session: DeviceSession) => void;
  /** The session has a link: its first one, or a newer one. */
  readonly linkProven?: (session: DeviceSession, offer: LinkOffer) => void;
  readonly closed?: (session: DeviceSession, end: SessionEnd) => void;
  /** A link was refused; the session it wanted is unharmed. */
  readonly linkRefused?: (text: string, caller: string) => void;
  /** See `SessionOptions`. */
  readonly retentionSeconds?: number | undefined;
  /** Default {@link DEFAULT_BUDGET_BYTES}. */
  readonly budgetBytes?: number | undefined;
  /** Default {@link MAX_SESSIONS}. */
  readonly maxSessions?: number | undefined;
}

interface Entry {
  readonly session: DeviceSession;
  readonly caller: string;
  readonly isEncrypted: boolean;
  readonly peerKey: string;
  /** Of the newest proven link. */
  mayOpen: (service: string) => boolean;
  readonly offers: WeakMap<Link, LinkOffer>;
}

/** The sessions of a device, attached or not. */
export class DeviceSessions {
  readonly #options: DeviceSessionsOptions;
  readonly #environment: SessionEnvironment;
  readonly #budget: Budget;
  readonly #entries = new Map<string, Entry>();
  /** Id of an expired session and when it expired, oldest first. */
  readonly #expired = new Map<string, number>();
  readonly #arriving = new Set<Link>();
  #isDraining = false;

  constructor(options: DeviceSessionsOptions) {
    this.#options = options;
    this.#environment = options.environment;
    this.#budget = new Budget(options.budgetBytes ?? DEFAULT_BUDGET_BYTES);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Open connections of all sessions. */
  get connections(): number {
    let sum = 0;
    for (const { session } of this.#entries.values()) sum += session.size;
    return sum;
  }

  /** Bytes of the budget that no session uses. */
  get freeBytes(): number {
    return this.#budget.free;
  }

  /** Links that have not said which session they belong to. */
  get arriving(): number {
    return this.#arriving.size;
  }

  get sessions(): DeviceSession[] {
    return [...this.#entries.values()].map(({ session }) => session);
  }

  /** A link has arrived. The caller passes what it receives to the `Link`. */
  accept(transport: LinkTransport, offer: LinkOffer): Link {
    let cancel = this.#environment.setTimer(ARRIVE_MS, () => giveUp());
    let hasHeard = false;
    const over = (): void => {
      cancel();
      this.#arriving.delete(link);
    };
    const refuse = (text: string): void => {
      over();
      link.drop();
      this.#options.linkRefused?.(text, offer.caller);
    };
    const giveUp = (): void => refuse('The service side did not introduce itself in time.');
    const events: LinkEvents = {
      hello: (_link, hello) => {
        over();
        this.#introduce(link, hello, offer, refuse);
      },
      proof: () => undefined,
      counted: () => undefined,
      acknowledged: () => undefined,
      bye: () => refuse('The service side left before it had introduced itself.'),
      heard: () => {
        if (hasHeard) return;
        hasHeard = true;
        cancel();
        cancel = this.#environment.setTimer(HELLO_MS, () => giveUp());
      },
      violation: (_link, text) => refuse(text),
      lost: over,
    };
    const link = new Link('device', transport, this.#environment, events);
    this.#arriving.add(link);
    return link;
  }

  /** Refuses new connections and ends each session when its last connection is over. */
  drain(): void {
    this.#isDraining = true;
    for (const { session } of this.#entries.values()) session.drain();
  }

  /** Takes new sessions again, after {@link drain}. */
  reopen(): void {
    this.#isDraining = false;
  }

  /** Ends all sessions now. */
  close(text: string): void {
    this.#isDraining = true;
    for (const link of this.#arriving) link.drop();
    this.#arriving.clear();
    for (const { session } of [...this.#entries.values()]) session.close({ reason: 'draining', text, byPeer: false });
  }

  #introduce(link: Link, hello: Hello, offer: LinkOffer, refuse: (text: string) => void): void {
    if (!equalBytes(hello.sessionId, offer.sessionId)) {
      refuse('HELLO names another session than the offer.');
      return;
    }
    const key = hex(hello.sessionId);
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#resume(entry, link, hello, offer, refuse);
    else if (hello.first === undefined) {
      const isExpired = this.#isExpired(key);
      link.bye(isExpired ? 'expired' : 'unknown', 0, '');
      this.#options.linkRefused?.('The session is not known here.', offer.caller);
    } else if (hello.first.deviceId !== this.#options.deviceId || hello.first.moduleId !== this.#options.moduleId) {
      refuse('The session is meant for another device.');
    } else this.#begin(key, link, hello, offer);
  }

  #resume(entry: Entry, link: Link, hello: Hello, offer: LinkOffer, refuse: (text: string) => void): void {
    const peerKey = offer.peerKey ?? '';
    if (hello.link === 1) refuse('The session exists already.');
    else if (offer.caller !== entry.caller) refuse('The link is of another caller than the session.');
    else if (link.isEncrypted !== entry.isEncrypted) refuse('The link differs from the session in its encryption.');
    else if (peerKey !== entry.peerKey) refuse('The link was made with another key than the session.');
    else {
      entry.offers.set(link, offer);
      entry.session.offerLink(link);
    }
  }

  #begin(key: string, link: Link, hello: Hello, offer: LinkOffer): void {
    const { first } = hello;
    if (first === undefined) return;
    const reason = this.#whyNot(hello, offer);
    if (reason !== undefined) {
      this.#answerAndLeave(link, hello, first.secret, reason);
      return;
    }
    const { environment, retentionSeconds, opened, connectionClosed, linkLost, linkProven, closed, linkRefused } =
      this.#options;
    const session: DeviceSession = new DeviceSession({
      environment,
      budget: this.#budget,
      retentionSeconds,
      idleMs: offer.idleMs,
      id: hello.sessionId,
      first,
      peerRetentionSeconds: hello.retentionSeconds,
      ended: (_session, end) => this.#ended(key, end),
      events: {
        opened: (connection) => {
          if (session.isDraining) connection.refuse('going_away');
          else if (!entry.mayOpen(connection.service)) connection.refuse('not_permitted');
          else opened(connection, session);
        },
        connectionClosed: (connection, why) => connectionClosed?.(connection, why, session),
        linkLost: () => linkLost?.(session),
        linkProven: (proven) => {
          const newest = entry.offers.get(proven);
          if (newest === undefined) return;
          entry.mayOpen = newest.mayOpen;
          session.abortUnless(newest.mayOpen);
          linkProven?.(session, newest);
        },
        linkRefused: (text) => linkRefused?.(text, offer.caller),
        closed: (end) => closed?.(session, end),
      },
    });
    const entry: Entry = {
      session,
      caller: offer.caller,
      isEncrypted: link.isEncrypted,
      peerKey: offer.peerKey ?? '',
      mayOpen: offer.mayOpen,
      offers: new WeakMap(),
    };
    this.#entries.set(key, entry);
    entry.offers.set(link, offer);
    session.begin(link);
  }

  /** Why a new session is not begun. */
  #whyNot(hello: Hello, offer: LinkOffer): 'version' | 'draining' | 'too_many' | undefined {
    if (hello.lowest > SESSION_VERSIONS.highest || hello.highest < SESSION_VERSIONS.lowest) return 'version';
    if (this.#isDraining) return 'draining';
    return this.#entries.size < (this.#options.maxSessions ?? MAX_SESSIONS) || this.#evict(offer.caller)
      ? undefined
      : 'too_many';
  }

  /** Makes room by ending the same caller's session that has been without a link for longest. */
  #evict(caller: string): boolean {
    let oldest: DeviceSession | undefined;
    for (const entry of this.#entries.values()) {
      const { detachedAt } = entry.session;
      if (entry.caller !== caller || detachedAt === undefined) continue;
      if (oldest?.detachedAt === undefined || detachedAt < oldest.detachedAt) oldest = entry.session;
    }
    oldest?.close({
      reason: 'expired',
      text: 'The device needed room for newer sessions of the same caller.',
      byPeer: false,
    });
    return oldest !== undefined;
  }

  /** The service side believes a BYE of whoever knows the secret. */
  #answerAndLeave(link: Link, hello: Hello, secret: Uint8Array, reason: 'version' | 'draining' | 'too_many'): void {
    const own = encodeHello({
      lowest: SESSION_VERSIONS.lowest,
      highest: SESSION_VERSIONS.highest,
      sessionId: hello.sessionId,
      link: hello.link,
      nonce: this.#environment.random(NONCE_BYTES),
      received: 0,
      retentionSeconds: 1,
    });
    link.send(own);
    const input = proofInput('device', withoutSecret(link.peerHelloFrame, true), own, link.binding);
    link.awaitProof();
    this.#environment.hmac(secret, input, (mac) => link.sendProof(mac));
    link.bye(reason, 0, '');
  }

  #ended(key: string, end: SessionEnd): void {
    this.#entries.delete(key);
    if (end.reason !== 'expired') return;
    this.#expired.set(key, this.#environment.now());
    for (const oldest of this.#expired.keys()) {
      if (this.#expired.size <= MAX_EXPIRED) break;
      this.#expired.delete(oldest);
    }
  }

  #isExpired(key: string): boolean {
    const at = this.#expired.get(key);
    if (at === undefined) return false;
    if (this.#environment.now() - at < EXPIRED_MS) return true;
    this.#expired.delete(key);
    return false;
  }
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
