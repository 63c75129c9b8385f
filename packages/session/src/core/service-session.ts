import type { ConnectionEvents, SessionConnection } from './connection.ts';
import type { SessionReason } from './frame.ts';
import {
  ARRIVE_MS,
  encodeHello,
  equalBytes,
  HELLO_MS,
  NONCE_BYTES,
  SECRET_BYTES,
  SESSION_ID_BYTES,
  SESSION_VERSIONS,
  withoutSecret,
} from './hello.ts';
import { Link, type LinkTransport } from './link.ts';
import { inWords } from './retention.ts';
import { SessionCore, type SessionEnd, type SessionOptions } from './session-core.ts';

/** Milliseconds for which a session without connections is kept for the next one. */
const IDLE_SESSION_MS = 60_000;
/** Milliseconds before a link is dialled again, at first. Each wait is twice the former, and up to half of it is left out at random. */
const MIN_WAIT_MS = 50;
/** The longest wait. */
const MAX_WAIT_MS = 10_000;

/** What users are told when the device ends the session without a text: it does not explain itself to a peer that has not proved to own the session. */
const UNEXPLAINED: Partial<Record<SessionReason, string>> = {
  unknown: 'The device no longer knows the session: its agent was restarted.',
  expired: 'The device no longer keeps the session: the link was lost for too long.',
};
/** Links with the same BYE before the proof that are believed without encryption: anybody on the way could answer one in the device's place. */
const BYES_BELIEVED = 3;

/** Why a link could not be had. */
export interface DialFailure {
  /** Ends the session, as this says; undefined: dial again. */
  readonly end?: SessionEnd | undefined;
  /** Milliseconds to wait at least before the next attempt. */
  readonly waitMs?: number | undefined;
  /** The attempt itself has waited for a device that is offline: its time counts as the wait before the next one. Default false. */
  readonly hasWaited?: boolean | undefined;
}

/** What a service side's session is for, and how it gets links. */
export interface ServiceSessionOptions extends SessionOptions {
  /** 16 random bytes; default: made by the session. */
  readonly id?: Uint8Array | undefined;
  /** The device and module that the session is for; an empty module means the device itself. */
  readonly deviceId: string;
  readonly moduleId: string;
  /** Asks for a link. The answer is {@link ServiceSession.linkReady} or {@link ServiceSession.dialFailed}, once. */
  readonly dial: (session: ServiceSession, link: number) => void;
}

/**
 * The service side's end of a session (docs/protocol/10-session.md). It dials links, one at a time, and opens connections. `Opening` and `Resuming` are
 * links that the device has not proved itself on; `Down` is the wait before the next one is dialled.
 */
export class ServiceSession extends SessionCore {
  readonly id: Uint8Array;
  protected readonly secret: Uint8Array;
  readonly #options: ServiceSessionOptions;
  /** A link number is never used twice: a device takes a number for old that it has seen proven. */
  #nextNumber = 1;
  #isDialling = false;
  #pending: Link | undefined;
  #waitMs = MIN_WAIT_MS;
  #acknowledgedAtLink = 0;
  #cancelWait: (() => void) | undefined;
  #cancelPendingTimer: (() => void) | undefined;
  #cancelIdleSession: (() => void) | undefined;
  #dialledAt = 0;
  #hasHeardPending = false;
  #bye: SessionReason | undefined;
  #byes = 0;
  #isDraining = false;

  constructor(options: ServiceSessionOptions) {
    super('service', options);
    this.#options = options;
    this.id = options.id ?? options.environment.random(SESSION_ID_BYTES);
    this.secret = options.environment.random(SECRET_BYTES);
  }

  /** Dials the first link. */
  start(): void {
    this.watchRetention();
    this.#dial();
  }

  /** Whether further connections may be opened. */
  get takesConnections(): boolean {
    return this.end === undefined && !this.#isDraining;
  }

  /**
   * Opens a connection. Undefined if the session is full, draining or over: then another session is needed.
   * @param former an unopened connection of another session, which goes on as this one
   */
  open(service: string, events: ConnectionEvents, former?: SessionConnection): SessionConnection | undefined {
    if (!this.takesConnections) return undefined;
    this.#cancelIdleSession?.();
    this.#cancelIdleSession = undefined;
    return this.multiplexer.open(service, ENCODER.encode(service), events, former);
  }

  /** The link that was asked for is there. */
  linkReady(transport: LinkTransport): Link {
    this.#isDialling = false;
    const link = new Link('service', transport, this.environment, this);
    if (this.end !== undefined) {
      link.drop();
      return link;
    }
    this.#pending = link;
    this.#hasHeardPending = false;
    link.number = this.#nextNumber++;
    link.received = () => this.multiplexer.received;
    link.position = this.multiplexer.received;
    link.ownHello = this.#hello(link);
    link.send(link.ownHello);
    this.#watchPending(ARRIVE_MS - (this.environment.now() - this.#dialledAt));
    // On link 1 the device needs no proof: the secret is in HELLO. Connections need not wait for its answer.
    if (link.number === 1) this.multiplexer.attach(link, 0, 0);
    return link;
  }

  /** The link that was asked for could not be had. */
  dialFailed({ end, waitMs = 0, hasWaited = false }: DialFailure): void {
    this.#isDialling = false;
    if (this.end !== undefined) return;
    if (end !== undefined) this.finish(end);
    else this.#dialLater(waitMs, hasWaited);
  }

  /** Replaces the current link: it has carried as much as its keys may, or its gateway is about to stop. */
  replaceLink(): void {
    const link = this.current;
    if (link === undefined) return;
    link.drop();
    this.lost(link);
  }

  /** Opens no further connections, and ends the session when the last one is over. */
  drain(): void {
    this.#isDraining = true;
    this.progressed();
  }

  /** Ends the session and all its connections. */
  close(text: string): void {
    this.finish({ reason: 'closed', text, byPeer: false });
  }

  // What happens on links

  hello(link: Link): void {
    const hello = link.peerHello;
    if (link !== this.#pending || hello === undefined) return;
    if (!equalBytes(hello.sessionId, this.id) || hello.link !== link.number)
      this.brokenBeforeProof(link, 'HELLO of another session.');
    else if (hello.lowest > SESSION_VERSIONS.highest || hello.highest < SESSION_VERSIONS.lowest) {
      // Nobody has proved anything yet: no more is believed than a BYE.
      this.byeBeforeProof(link, 'version', 'The device speaks another version of the session.');
    }
  }

  proof(link: Link, proof: Uint8Array): void {
    if (link !== this.#pending) return;
    const hello = withoutSecret(link.ownHello, link.number === 1);
    this.verify(link, proof, [hello, link.peerHelloFrame], (isGood) => {
      if (isGood) this.#answerProof(link);
      else this.brokenBeforeProof(link, 'The device could not prove that it knows the session.');
    });
  }

  lost(link: Link): void {
    if (link === this.#pending) {
      this.#forgetPending();
      if (link.number === 1) this.unuse();
      this.#dialLater(0);
    } else if (link === this.current) {
      this.unuse();
      this.events.linkLost?.();
      if (this.multiplexer.size === 0 && this.multiplexer.isAcknowledged) {
        this.finish({ reason: 'done', text: '', byPeer: false });
      } else this.#dialLater(0);
    }
  }

  override heard(link: Link): void {
    super.heard(link);
    if (link !== this.#pending || this.#hasHeardPending) return;
    this.#hasHeardPending = true;
    this.#watchPending(HELLO_MS);
  }

  protected byeBeforeProof(link: Link, reason: SessionReason, text: string): void {
    link.drop();
    if (link !== this.#pending) return;
    this.#byes = this.#bye === reason ? this.#byes + 1 : 1;
    this.#bye = reason;
    const isBelieved = link.isEncrypted || this.#byes >= BYES_BELIEVED;
    if (isBelieved) this.finish({ reason, text: text === '' ? (UNEXPLAINED[reason] ?? '') : text, byPeer: true });
    else this.lost(link);
  }

  protected brokenBeforeProof(link: Link, text: string): void {
    this.events.linkRefused?.(text);
    link.drop();
    this.lost(link);
  }

  protected retentionOver(): void {
    this.finish({
      reason: 'expired',
      text: `The device could not be reached again within ${inWords(this.retentionSeconds)}.`,
      byPeer: false,
    });
  }

  protected progressed(): void {
    // Only what was acknowledged shows that a link carries anything.
    if (this.isUp && this.multiplexer.acknowledged > this.#acknowledgedAtLink) this.#waitMs = MIN_WAIT_MS;
    if (this.end !== undefined || this.multiplexer.size > 0 || !this.multiplexer.isAcknowledged || !this.isUp) return;
    if (this.#isDraining) this.finish({ reason: 'done', text: '', byPeer: false });
    else this.#cancelIdleSession ??= this.environment.setTimer(IDLE_SESSION_MS, () => this.#idle());
  }

  protected dropLinks(): void {
    const link = this.#pending;
    this.#forgetPending();
    link?.drop();
    this.#cancelWait?.();
    this.#cancelWait = undefined;
    this.#cancelIdleSession?.();
    this.#cancelIdleSession = undefined;
  }

  #idle(): void {
    this.#cancelIdleSession = undefined;
    if (this.multiplexer.size === 0 && this.isUp) {
      if (this.multiplexer.isAcknowledged) this.finish({ reason: 'done', text: '', byPeer: false });
      else this.progressed();
    }
  }

  #answerProof(link: Link): void {
    if (link.number === 1) this.#proven(link);
    // Before BYE too: the device believes it only of whom has proved itself.
    else this.prove(link, [link.ownHello, link.peerHelloFrame], () => this.#proven(link));
  }

  #proven(link: Link): void {
    if (link !== this.#pending) return;
    this.#forgetPending();
    this.retentionSeconds = Math.max(1, Math.min(this.retentionSeconds, link.peerHello?.retentionSeconds ?? 1));
    this.use(link);
    const received = link.peerHello?.received ?? 0;
    if (link.number > 1 && !this.multiplexer.attach(link, received, link.position)) {
      this.finish({ reason: 'offsets', text: 'The device claims to have received what was not sent.', byPeer: false });
      return;
    }
    this.#acknowledgedAtLink = this.multiplexer.acknowledged;
    this.#byes = 0;
    this.events.linkProven?.(link);
    this.progressed();
  }

  #hello(link: Link): Uint8Array {
    const { deviceId, moduleId } = this.#options;
    return encodeHello({
      lowest: SESSION_VERSIONS.lowest,
      highest: SESSION_VERSIONS.highest,
      sessionId: this.id,
      link: link.number,
      nonce: this.environment.random(NONCE_BYTES),
      received: this.multiplexer.received,
      retentionSeconds: this.retentionSeconds,
      first: link.number === 1 ? { secret: this.secret, deviceId, moduleId } : undefined,
    });
  }

  // Dialling

  #dialLater(waitMs: number, hasWaited = false): void {
    if (this.end !== undefined || this.#cancelWait !== undefined || this.#isDialling || this.#pending !== undefined)
      return;
    const waited = hasWaited ? this.environment.now() - this.#dialledAt : 0;
    const backOff = Math.max(this.#waitMs - waited, MIN_WAIT_MS) * (0.5 + this.environment.jitter() / 2);
    const wait = Math.max(waitMs, backOff);
    this.#waitMs = Math.min(this.#waitMs * 2, MAX_WAIT_MS);
    this.#cancelWait = this.environment.setTimer(wait, () => {
      this.#cancelWait = undefined;
      this.#dial();
    });
  }

  #dial(): void {
    if (this.end !== undefined || this.#isDialling) return;
    this.#isDialling = true;
    this.#dialledAt = this.environment.now();
    this.#options.dial(this, this.#nextNumber);
  }

  #watchPending(ms: number): void {
    this.#cancelPendingTimer?.();
    this.#cancelPendingTimer = this.environment.setTimer(Math.max(ms, 1), () => {
      this.#cancelPendingTimer = undefined;
      const link = this.#pending;
      if (link !== undefined) this.brokenBeforeProof(link, 'The device did not answer in time.');
    });
  }

  #forgetPending(): void {
    this.#pending = undefined;
    this.#cancelPendingTimer?.();
    this.#cancelPendingTimer = undefined;
  }
}

const ENCODER = new TextEncoder();
