import type { SessionReason } from './frame.ts';
import { encodeHello, type FirstHello, HELLO_MS, NONCE_BYTES, SESSION_VERSIONS, withoutSecret } from './hello.ts';
import type { Link } from './link.ts';
import { SessionCore, type SessionEnd, type SessionOptions } from './session-core.ts';

/** Links of one session that wait for their proof. Nobody can cause one without an offer of the hub. */
const MAX_PENDING_LINKS = 32;
/** Proven links in a second. More means that something drops them as fast as they come. */
const RESUMES_PER_SECOND = 5;

/** What the service side's first HELLO says of a session, and who is told of its end. */
export interface DeviceSessionOptions extends SessionOptions {
  readonly id: Uint8Array;
  readonly first: FirstHello;
  /** Seconds of the service side. */
  readonly peerRetentionSeconds: number;
  /** Called when the session is over, before `events.closed`. */
  readonly ended: (session: DeviceSession, end: SessionEnd) => void;
}

/**
 * The device's end of a session (docs/protocol/10-session.md). It accepts links that prove to belong to it, keeps its connections while there is none, and
 * never ends an idle session: its BYE would cross an OPEN.
 */
export class DeviceSession extends SessionCore {
  readonly id: Uint8Array;
  protected readonly secret: Uint8Array;
  /** Links that wait for their proof, with what cancels their time limits. */
  readonly #pending = new Map<Link, () => void>();
  readonly #ended: DeviceSessionOptions['ended'];
  #isDraining = false;
  #resumes: number[] = [];
  /** When the session last lost its link; undefined while it has one. */
  detachedAt: number | undefined;

  constructor(options: DeviceSessionOptions) {
    super('device', options);
    this.id = options.id;
    this.secret = options.first.secret;
    this.#ended = options.ended;
    this.retentionSeconds = Math.max(1, Math.min(this.retentionSeconds, options.peerRetentionSeconds));
  }

  /** Whether new connections are refused. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** The first link: HELLO on it has the secret, so it needs no proof of the service side. */
  begin(link: Link): void {
    link.handOver(this);
    link.received = () => this.multiplexer.received;
    this.#answer(link, () => this.multiplexer.attach(link, 0, 0));
    this.use(link);
    this.events.linkProven?.(link);
  }

  /**
   * A further link, whose HELLO names this session. Each keeps the `received` of its own HELLO; none is refused or dropped for another that has not
   * proved itself.
   */
  offerLink(link: Link): void {
    if (this.#pending.size >= MAX_PENDING_LINKS) {
      link.drop();
      this.events.linkRefused?.('Too many links wait for their proof.');
      return;
    }
    link.handOver(this);
    link.received = () => this.multiplexer.received;
    const giveUp = (): void => this.brokenBeforeProof(link, 'The service side did not prove itself in time.');
    this.#pending.set(link, this.environment.setTimer(HELLO_MS, giveUp));
    this.#answer(link, () => undefined);
  }

  /** Whether a link waits for its proof. */
  isPending(link: Link): boolean {
    return this.#pending.has(link);
  }

  /** Refuses new connections, and ends the session when the last one is over. */
  drain(): void {
    this.#isDraining = true;
    this.progressed();
  }

  /** Ends the session and all its connections. */
  close(end: SessionEnd): void {
    this.finish(end);
  }

  /** Aborts connections that the caller may not use any more. */
  abortUnless(mayUse: (service: string) => boolean): void {
    for (const connection of [...this.multiplexer.connections]) {
      if (!mayUse(connection.service)) connection.abort('not_permitted');
    }
  }

  hello(): void {
    // The table has read HELLO before it handed the link over; Link reports a second one as a violation.
  }

  proof(link: Link, proof: Uint8Array): void {
    if (!this.#pending.has(link)) return;
    this.verify(link, proof, [link.peerHelloFrame, link.ownHello], (isGood) => {
      if (!isGood) this.brokenBeforeProof(link, 'The service side could not prove that it knows the session.');
      else if (link.number <= this.provenNumber) this.brokenBeforeProof(link, 'A newer link was proven already.');
      else this.#proven(link);
    });
  }

  lost(link: Link): void {
    if (this.#forget(link) || link !== this.current) return;
    this.unuse();
    this.detachedAt = this.environment.now();
    this.events.linkLost?.();
  }

  protected byeBeforeProof(link: Link, _reason: SessionReason, _text: string): void {
    this.#forget(link);
    link.drop();
  }

  protected brokenBeforeProof(link: Link, text: string): void {
    this.#forget(link);
    link.drop();
    this.events.linkRefused?.(text);
  }

  protected retentionOver(): void {
    this.finish({ reason: 'expired', text: 'The link was lost for longer than the session is kept.', byPeer: false });
  }

  protected progressed(): void {
    if (this.#isDraining && this.multiplexer.size === 0 && this.multiplexer.isAcknowledged && this.isUp) {
      this.finish({ reason: 'draining', text: '', byPeer: false });
    }
  }

  protected override finish(end: SessionEnd, highestTaken?: number): void {
    if (this.end === undefined) this.#ended(this, end);
    super.finish(end, highestTaken);
  }

  protected dropLinks(): void {
    for (const link of [...this.#pending.keys()]) {
      this.#forget(link);
      if (this.end?.reason === 'expired') link.bye('expired', 0, '');
      else link.drop();
    }
  }

  #proven(link: Link): void {
    const received = link.peerHello?.received ?? 0;
    if (!this.#mayResume()) {
      this.brokenBeforeProof(link, 'The session changes its link too often.');
      return;
    }
    const former = this.current;
    if (former !== undefined) {
      former.drop();
      this.unuse();
    }
    for (const other of [...this.#pending.keys()]) {
      if (other.number >= link.number) continue;
      this.#forget(other);
      other.drop();
    }
    this.#forget(link);
    this.detachedAt = undefined;
    this.use(link);
    if (!this.multiplexer.attach(link, received, link.position)) {
      this.finish({
        reason: 'offsets',
        text: 'The service side claims to have received what was not sent.',
        byPeer: false,
      });
      return;
    }
    if (former !== undefined) this.events.linkLost?.();
    this.events.linkProven?.(link);
    this.progressed();
  }

  #forget(link: Link): boolean {
    this.#pending.get(link)?.();
    return this.#pending.delete(link);
  }

  #mayResume(): boolean {
    const now = this.environment.now();
    this.#resumes = this.#resumes.filter((at) => now - at < 1_000);
    if (this.#resumes.length >= RESUMES_PER_SECOND) return false;
    this.#resumes.push(now);
    return true;
  }

  /** HELLO and PROOF. */
  #answer(link: Link, proved: () => void): void {
    const { peerHello } = link;
    link.number = peerHello?.link ?? 0;
    link.position = this.multiplexer.received;
    link.ownHello = encodeHello({
      lowest: SESSION_VERSIONS.lowest,
      highest: SESSION_VERSIONS.highest,
      sessionId: this.id,
      link: link.number,
      nonce: this.environment.random(NONCE_BYTES),
      received: this.multiplexer.received,
      retentionSeconds: this.retentionSeconds,
    });
    link.send(link.ownHello);
    this.prove(link, [withoutSecret(link.peerHelloFrame, link.number === 1), link.ownHello], proved);
  }
}
