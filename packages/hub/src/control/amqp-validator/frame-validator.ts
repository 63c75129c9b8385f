import { CulvertError } from '@culvert/protocol';
import { type ConnectionBounds, ConnectionRules } from './connection-rules.ts';
import { broken } from './encoding.ts';
import { FrameReader } from './frame-reader.ts';
import { FRAME_TYPES, PERFORMATIVES, readPerformative } from './performative.ts';

/** What may be fed to the engine next, whole. */
export type Passed =
  | { readonly kind: 'header' | 'frame'; readonly bytes: Buffer }
  /** A link or session ends, and the engine forgets it only a tick later; whatever follows is to wait for that. */
  | { readonly kind: 'ending'; readonly bytes: Buffer }
  /** Nothing passes until {@link FrameValidator.authenticated}. */
  | { readonly kind: 'sasl-init'; readonly bytes: Buffer; readonly mechanism: string };

/** Protocol ids in the header (AMQP 1.0 §2.2, §5.3.1). */
const PROTOCOLS = { amqp: 0, sasl: 3 } as const;

type State = 'first-header' | 'sasl' | 'authenticating' | 'amqp-header' | 'amqp';

/**
 * Stands between the network and the AMQP engine, which trusts what it is given: it would buffer any length that is declared, loop as often as
 * it is told, and recurse as deep. Only whole headers and frames pass, in an order that makes sense, each checked to the last byte.
 */
export class FrameValidator {
  readonly #reader = new FrameReader();
  readonly #rules: ConnectionRules;
  #state: State = 'first-header';

  constructor(bounds: ConnectionBounds) {
    this.#rules = new ConnectionRules(bounds);
  }

  /** The peer's idle-time-out in milliseconds, once it has opened; undefined when it has none. */
  get peerIdleMs(): number | undefined {
    return this.#rules.peerIdleMs;
  }

  /** Whether the SASL layer awaits its outcome, so that what arrives has to wait. */
  get isAuthenticating(): boolean {
    return this.#state === 'authenticating';
  }

  /** Whether the peer was shown the SASL mechanisms and has chosen none. */
  get awaitsMechanism(): boolean {
    return this.#state === 'sasl';
  }

  /** The header that is to be told to a peer who began with another one (§2.2). */
  get expectedHeader(): Buffer {
    const protocol = this.#state === 'amqp-header' ? PROTOCOLS.amqp : PROTOCOLS.sasl;
    return Buffer.from([...Buffer.from('AMQP'), protocol, 1, 0, 0]);
  }

  /** The peer has proved who it is: longer frames are taken from now on. */
  authenticated(): void {
    this.#reader.authenticated();
  }

  push(chunk: Buffer): void {
    this.#reader.push(chunk);
  }

  /** SASL has succeeded: the AMQP header is to follow. */
  saslSucceeded(): void {
    this.#state = 'amqp-header';
  }

  /**
   * The next that may be fed; undefined when there is none yet. Frames that only show life are passed over.
   * @throws CulvertError `protocol_error`, `protocol_unsupported`, `too_large`, `too_many_requests`, `not_supported`
   */
  next(): Passed | undefined {
    switch (this.#state) {
      case 'first-header':
        return this.#header([PROTOCOLS.sasl, PROTOCOLS.amqp]);
      case 'amqp-header':
        return this.#header([PROTOCOLS.amqp]);
      case 'sasl':
        return this.#saslInit();
      case 'amqp':
        return this.#frame();
      case 'authenticating':
        return undefined;
    }
  }

  #header(protocols: readonly number[]): Passed | undefined {
    const bytes = this.#reader.header();
    if (bytes === undefined) return undefined;
    const [protocol = -1, ...version] = bytes.subarray(4);
    if (!protocols.includes(protocol) || version.join('.') !== '1.0.0') {
      throw new CulvertError('protocol_unsupported', `AMQP ${version.join('.')} with protocol id ${protocol}.`);
    }
    this.#state = protocol === PROTOCOLS.sasl ? 'sasl' : 'amqp';
    return { bytes, kind: 'header' };
  }

  #saslInit(): Passed | undefined {
    const bytes = this.#reader.frame();
    if (bytes === undefined) return undefined;
    const performative = readPerformative(bytes, FRAME_TYPES.sasl);
    if (performative?.code !== PERFORMATIVES.saslInit) throw broken('The SASL layer began with no sasl-init.');
    const mechanism = performative.fields.symbol(0);
    if (mechanism === undefined) throw broken('A sasl-init without a mechanism.');
    performative.fields.binary(1);
    performative.fields.string(2);
    this.#state = 'authenticating';
    return { bytes, kind: 'sasl-init', mechanism };
  }

  #frame(): Passed | undefined {
    for (;;) {
      const bytes = this.#reader.frame();
      if (bytes === undefined) return undefined;
      const performative = readPerformative(bytes, FRAME_TYPES.amqp);
      if (performative === undefined) continue;
      this.#rules.check(performative);
      const ends = performative.code === PERFORMATIVES.detach || performative.code === PERFORMATIVES.end;
      return { bytes, kind: ends ? 'ending' : 'frame' };
    }
  }
}
