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
  /** Destroys both sides with its reason. */
  readonly signal?: AbortSignal;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Milliseconds without a byte that the other direction gets after one has ended; default: as long as it likes. */
  readonly halfCloseMs?: number;
}

/**
 * Joins two byte streams until both directions have ended, each side's end being passed on as the end of the other (half-close; give
 * it sockets made with `allowHalfOpen`). If a side closes after it has ended cleanly, the other ends cleanly too.
 * @throws CulvertError why it was aborted: a side that fails or is destroyed destroys the other at once with the same error
 */
export function splice(a: Duplex, b: Duplex, options: SpliceOptions = {}): Promise<SpliceResult> {
  return new Promise((resolve, reject) => new Splice(a, b, options, resolve, reject).start());
}

class Splice {
  readonly #forth: Direction;
  readonly #back: Direction;
  readonly #sides: readonly [Duplex, Duplex];
  readonly #options: SpliceOptions;
  readonly #resolve: (result: SpliceResult) => void;
  readonly #reject: (error: CulvertError) => void;
  readonly #undo: (() => void)[] = [];
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
    this.#forth = new Direction(a, b, ended);
    this.#back = new Direction(b, a, ended);
  }

  start(): void {
    const { signal } = this.#options;
    const [a, b] = this.#sides;
    // These stay: destroying a side emits its error after the splice is over.
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
      this.#undo.push(() => side.off('close', onClose));
    }
    if (signal !== undefined) {
      const onAbort = (): void => this.#fail(abortReason(signal));
      signal.addEventListener('abort', onAbort);
      this.#undo.push(() => signal.removeEventListener('abort', onAbort));
    }
    this.#forth.start();
    this.#back.start();
  }

  #directionEnded(): void {
    if (this.#settled) return;
    if (this.#forth.ended && this.#back.ended) this.#finish();
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
        const text = `One direction had ended, and nothing came in the other for ${ms / 1000} s.`;
        this.#fail(new CulvertError('half_close_timeout', text));
      },
    });
    this.#halfClose = halfClose;
    const moved = (): void => halfClose.moved();
    for (const side of this.#sides) {
      side.on('data', moved);
      this.#undo.push(() => side.off('data', moved));
    }
  }

  /** `side` has closed. If it had finished both directions, its remaining bytes are still delivered to the `other`. */
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
    this.#undo.push(() => other.off('finish', finished));
    // It may never finish, when its peer reads no more: what it sends has nowhere to go either.
    this.#boundOther();
  }

  #finish(): void {
    this.#cleanUp();
    this.#resolve({ bytesAToB: this.#forth.bytes, bytesBToA: this.#back.bytes });
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
    for (const undo of this.#undo.splice(0)) undo();
    this.#forth.stop();
    this.#back.stop();
  }
}

/** One direction, and whether it is over. */
class Direction {
  readonly #from: Duplex;
  readonly #to: Duplex;
  readonly #flow: Flow;
  readonly #onEnded: () => void;
  /** All was read from the one, and the other has taken it all. */
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
    this.#to.on('finish', this.#look);
    this.#from.on('end', this.#look);
    this.#flow.start();
    this.#look();
  }

  stop(): void {
    this.#to.off('finish', this.#look);
    this.#from.off('end', this.#look);
    this.#flow.stop();
  }

  readonly #look = (): void => {
    if (this.ended || !this.#from.readableEnded || !this.#to.writableFinished) return;
    this.ended = true;
    this.#onEnded();
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, '') : String(error);
}
