import { CulvertError } from '@culvert/protocol';
import { type ConnectionBounds, ConnectionRules } from './connection-rules.ts';
import { broken } from './encoding.ts';
import { FrameReader } from './frame-reader.ts';
import { FRAME_TYPES, PERFORMATIVES, readPerformative } from './performative.ts';

/** A complete header or frame that may be fed to the engine next. */
export type Passed =
  | { readonly kind: 'header' | 'frame'; readonly bytes: Buffer }
  /** Ends a link or session. The engine removes it only in a later tick, and the next frame must not be fed before. */
  | { readonly kind: 'ending'; readonly bytes: Buffer }
  /** Nothing more passes until {@link FrameValidator.saslSucceeded}. */
  | { readonly kind: 'sasl-init'; readonly bytes: Buffer; readonly mechanism: string };

/** Protocol ids in the header (AMQP 1.0 §2.2, §5.3.1). */
const PROTOCOLS = { amqp: 0, sasl: 3 } as const;

type State = 'first-header' | 'sasl' | 'authenticating' | 'amqp-header' | 'amqp';

/**
 * Validates received data before it is fed to the AMQP engine. The engine does not check its input: it would buffer any declared length, loop for
 * any declared count, and recurse to any depth. Only complete headers and frames pass, in a valid order, each checked to the last byte.
 */
export class FrameValidator {
  readonly #reader = new FrameReader();
  readonly #rules: ConnectionRules;
  #state: State = 'first-header';

  constructor(bounds: ConnectionBounds) {
    this.#rules = new ConnectionRules(bounds);
  }

  /** The idle-time-out in the peer's open, in milliseconds; undefined when it has none, and before the open. */
  get peerIdleMs(): number | undefined {
    return this.#rules.peerIdleMs;
  }

  /** Whether the SASL exchange has no outcome yet, so that received data has to wait. */
  get isAuthenticating(): boolean {
    return this.#state === 'authenticating';
  }

  /** Whether the peer was offered the SASL mechanisms and has not chosen one yet. */
  get awaitsMechanism(): boolean {
    return this.#state === 'sasl';
  }

  /** The header to send to a peer that began with an unsupported one (AMQP 1.0 §2.2). */
  get expectedHeader(): Buffer {
    const protocol = this.#state === 'amqp-header' ? PROTOCOLS.amqp : PROTOCOLS.sasl;
    return Buffer.from([...Buffer.from('AMQP'), protocol, 1, 0, 0]);
  }

  /** The peer has authenticated: longer frames are accepted from now on. */
  authenticated(): void {
    this.#reader.authenticated();
  }

  push(chunk: Buffer): void {
    this.#reader.push(chunk);
  }

  /** SASL has succeeded: the AMQP header must follow. */
  saslSucceeded(): void {
    this.#state = 'amqp-header';
  }

  /**
   * The next header or frame for the engine; undefined when none is complete. Skips empty frames, which serve only as keep-alives.
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
    if (performative?.code !== PERFORMATIVES.saslInit) throw broken('The first SASL frame is not a sasl-init.');
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
