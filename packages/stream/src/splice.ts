import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import { type Clock, systemClock } from './clock.ts';
import { abortReason } from './deadline.ts';
import { Flow } from './flow.ts';
import { HalfCloseTimer } from './half-close-timer.ts';

/** Byte counts of a {@link splice}. */
export interface SpliceResult {
  readonly bytesAToB: number;
  readonly bytesBToA: number;
}

export interface SpliceOptions {
  /** Destroys both sides with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Maximum milliseconds without a byte in the open direction after the other direction has ended. Default: no limit. */
  readonly halfCloseMs?: number;
}

/**
 * Joins two byte streams until both directions have ended. When one side ends, the other side is ended too, and the opposite direction continues
 * (half-close; sockets must be created with `allowHalfOpen`). If a side closes after it has ended cleanly, the other side ends cleanly too.
 * @throws CulvertError the reason for an abort. If a side fails or is destroyed, the other side is destroyed at once with the same error
 */
export function splice(a: Duplex, b: Duplex, options: SpliceOptions = {}): Promise<SpliceResult> {
  return new Promise((resolve, reject) => new Splice(a, b, options, resolve, reject).start());
}

class Splice {
  readonly #aToB: Direction;
  readonly #bToA: Direction;
  readonly #sides: readonly [Duplex, Duplex];
  readonly #options: SpliceOptions;
  readonly #resolve: (result: SpliceResult) => void;
  readonly #reject: (error: CulvertError) => void;
  readonly #removeListeners: (() => void)[] = [];
  #halfClose: HalfCloseTimer | undefined;
  #settled = false;

  constructor(
    a: Duplex,
    b: Duplex,
    options: SpliceOptions,
    resolve: (result: SpliceResult) => void,
    reject: (error: CulvertError) => void,
  ) {
    this.#sides = [a, b];
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    const ended = (): void => this.#directionEnded();
    this.#aToB = new Direction(a, b, ended);
    this.#bToA = new Direction(b, a, ended);
  }

  start(): void {
    const { signal } = this.#options;
    const [a, b] = this.#sides;
    // These listeners stay, because a destroyed side emits its error after the splice has ended.
    for (const side of this.#sides) side.on('error', (error) => this.#fail(error));
    if (signal?.aborted) {
      this.#fail(abortReason(signal));
      return;
    }
    for (const [side, other] of [[a, b] as const, [b, a] as const]) {
      if (side.destroyed) {
        this.#fail(side.errored);
        return;
      }
      const onClose = (): void => this.#closed(side, other);
      side.on('close', onClose);
      this.#removeListeners.push(() => side.off('close', onClose));
    }
    if (signal !== undefined) {
      const onAbort = (): void => this.#fail(abortReason(signal));
      signal.addEventListener('abort', onAbort);
      this.#removeListeners.push(() => signal.removeEventListener('abort', onAbort));
    }
    this.#aToB.start();
    this.#bToA.start();
  }

  #directionEnded(): void {
    if (this.#settled) return;
    if (this.#aToB.ended && this.#bToA.ended) this.#finish();
    else this.#boundOther();
  }

  #boundOther(): void {
    const { clock = systemClock, halfCloseMs: ms } = this.#options;
    if (ms === undefined || this.#halfClose !== undefined) return;
    const halfClose = new HalfCloseTimer({
      clock,
      ms,
      isBlocked: () => this.#sides.some((side) => side.writableNeedDrain),
      expired: () => {
        const text = `One direction had ended, and no data arrived in the other for ${ms / 1000} s.`;
        this.#fail(new CulvertError('half_close_timeout', text));
      },
    });
    this.#halfClose = halfClose;
    const moved = (): void => halfClose.moved();
    for (const side of this.#sides) {
      side.on('data', moved);
      this.#removeListeners.push(() => side.off('data', moved));
    }
  }

  /** Called when `side` has closed. If both its directions had finished, its remaining bytes are still delivered to `other`. */
  #closed(side: Duplex, other: Duplex): void {
    if (this.#settled) return;
    if (!side.readableEnded || !side.writableFinished) {
      this.#fail(side.errored);
      return;
    }
    if (other.writableFinished) {
      this.#finish();
      other.destroy();
      return;
    }
    const finished = (): void => this.#closed(side, other);
    other.once('finish', finished);
    this.#removeListeners.push(() => other.off('finish', finished));
    // `other` never finishes if its peer no longer reads, so its silence is limited. Data from `other` can no longer be delivered in any case.
    this.#boundOther();
  }

  #finish(): void {
    this.#cleanUp();
    this.#resolve({ bytesAToB: this.#aToB.bytes, bytesBToA: this.#bToA.bytes });
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    const reason =
      error === null || error === undefined
        ? new CulvertError('stream_lost', 'One side was closed before it had ended.')
        : CulvertError.from(error, 'stream_lost', `The connection was lost: ${messageOf(error)}.`);
    this.#cleanUp();
    for (const side of this.#sides) side.destroy(reason);
    this.#reject(reason);
  }

  #cleanUp(): void {
    this.#settled = true;
    this.#halfClose?.stop();
    for (const remove of this.#removeListeners.splice(0)) remove();
    this.#aToB.stop();
    this.#bToA.stop();
  }
}

/** One direction of a splice, and whether it has ended. */
class Direction {
  readonly #from: Duplex;
  readonly #to: Duplex;
  readonly #flow: Flow;
  readonly #onEnded: () => void;
  /** Whether the source has been read to its end and the destination has finished. */
  ended = false;

  constructor(from: Duplex, to: Duplex, onEnded: () => void) {
    this.#from = from;
    this.#to = to;
    this.#flow = new Flow(from, to);
    this.#onEnded = onEnded;
  }

  get bytes(): number {
    return this.#flow.bytes;
  }

  start(): void {
    this.#to.on('finish', this.#checkEnded);
    this.#from.on('end', this.#checkEnded);
    this.#flow.start();
    this.#checkEnded();
  }

  stop(): void {
    this.#to.off('finish', this.#checkEnded);
    this.#from.off('end', this.#checkEnded);
    this.#flow.stop();
  }

  readonly #checkEnded = (): void => {
    if (this.ended || !this.#from.readableEnded || !this.#to.writableFinished) return;
    this.ended = true;
    this.#onEnded();
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, '') : String(error);
}
