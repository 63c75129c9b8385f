import { ACK_DELAY_MS, AckTiming } from './ack-timing.ts';
import type { SessionEnvironment } from './environment.ts';
import { encodeFrame, encodeUint64, FRAME } from './frame.ts';

/** What this end has received of the peer's counted frames, and what of it the peer has been told. */
export class Acknowledgements {
  readonly #environment: SessionEnvironment;
  readonly #due: () => void;
  #timing: AckTiming | undefined;
  #received = 0;
  #told = 0;
  /** Milliseconds when the first byte was received that the peer has not been told of. */
  #untoldSince = 0;
  #isDue = false;
  #cancelTimer: (() => void) | undefined;

  /** @param due called when an acknowledgement must not wait for the next message any longer */
  constructor(environment: SessionEnvironment, due: () => void) {
    this.#environment = environment;
    this.#due = due;
  }

  /** Offset after the last frame that was received whole. */
  get received(): number {
    return this.#received;
  }

  /** Whether the peer has not been told of everything. */
  get isOwed(): boolean {
    return this.#received > this.#told;
  }

  /** Whether the acknowledgement waits for no further message: it has waited long enough, or there is much to acknowledge. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** A link begins, on which this end's HELLO has `announced` what it had received then. */
  attach(announced: number): void {
    this.#timing = new AckTiming(this.#environment.now);
    this.#told = announced;
    this.#isDue = this.isOwed;
  }

  /** The link is gone. */
  detach(): void {
    this.#timing = undefined;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** A whole frame was received. */
  receive(bytes: number): void {
    if (!this.isOwed) this.#untoldSince = this.#environment.now();
    this.#received += bytes;
    if (this.#timing === undefined) return;
    if (this.#timing.received(bytes, this.#received - this.#told)) this.#becomeDue();
    else if (this.#cancelTimer === undefined) this.#startTimer(ACK_DELAY_MS);
  }

  /** The ACK frame to send now. */
  take(): Uint8Array {
    this.#isDue = false;
    this.#told = this.#received;
    return encodeFrame(FRAME.ack, 0, encodeUint64(this.#received));
  }

  #startTimer(ms: number): void {
    this.#cancelTimer = this.#environment.setTimer(ms, () => {
      this.#cancelTimer = undefined;
      if (!this.isOwed) return;
      // The timer is not stopped by an acknowledgement: one for each message would cost more than one that fires in vain.
      const left = this.#untoldSince + ACK_DELAY_MS - this.#environment.now();
      if (left > 0) this.#startTimer(left);
      else this.#becomeDue();
    });
  }

  #becomeDue(): void {
    this.#isDue = true;
    this.#due();
  }
}
