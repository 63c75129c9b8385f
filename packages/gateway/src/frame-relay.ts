import {
  CLOSE_CAUSES,
  type CloseCause,
  CulvertError,
  closeCauseFromError,
  ERRORS,
  type ErrorCode,
} from '@culvert/protocol';
import { type Clock, HalfCloseTimer, type Timer } from '@culvert/stream';
import type { CloseStatus } from './close-frame.ts';
import type { RelayPeer } from './relay-peer.ts';

export interface FrameRelayOptions {
  readonly clock: Clock;
  /** See `GatewayLimits`. */
  readonly halfCloseMs: number;
  /** Milliseconds a side has to answer a close frame that says an error. */
  readonly lingerMs: number;
}

/**
 * Joins the two ends of a stream until both directions have ended. One side's end goes to the other as a close frame, after every byte
 * before it; then the other direction goes on until its end comes back, without a bound while bytes flow and for `halfCloseMs` without
 * one. Nothing here answers 1000 by itself: that is said only for a side that has ended.
 */
export class FrameRelay {
  /** Resolves with the reason when both sockets are closed; never rejects. */
  readonly closed: Promise<CloseCause>;
  readonly device: RelayPeer;
  readonly service: RelayPeer;

  readonly #options: FrameRelayOptions;
  /** Why it ends. A failure takes the place of a clean end of one side. */
  #cause: CloseCause | undefined;
  #endedWith: CulvertError | undefined;
  /** A side closed with an error, and the other is told. */
  #errorTold = false;
  /** Runs after an error's close frame, until it is answered. */
  #linger: Timer | undefined;
  /** Runs while one direction has ended and the other has not. */
  #halfClose: HalfCloseTimer | undefined;
  /** Bytes of the direction that goes on, when the other ended. */
  #receivedAtEnd = 0;
  #over = false;

  constructor(device: RelayPeer, service: RelayPeer, options: FrameRelayOptions) {
    this.device = device;
    this.service = service;
    this.#options = options;
    this.closed = Promise.all([device.closed, service.closed]).then(() => {
      this.#finish();
      return this.#cause ?? 'shutting_down';
    });
    this.#listen(device, service);
    this.#listen(service, device);
    device.pipeTo(service);
    service.pipeTo(device);
    this.#endEarly(device, service);
    this.#endEarly(service, device);
  }

  /** The error that ended it; undefined when a side did, by its close frame. */
  get endedWith(): CulvertError | undefined {
    return this.#endedWith;
  }

  /** Ends both sides now, with the error's close code and message. */
  end(error: CulvertError, cause = closeCauseFromError(error.code)): void {
    if (!this.#over) this.#failedWith(cause, error);
    this.#finish();
    this.device.finishWith(error, 'now');
    this.service.finishWith(error, 'now');
  }

  /** Cuts both connections. */
  destroy(): void {
    this.#cause ??= 'shutting_down';
    this.#finish();
    this.device.destroy();
    this.service.destroy();
  }

  #listen(from: RelayPeer, to: RelayPeer): void {
    from.handTo({
      closing: (status) => this.#closing(from, to, status),
      failed: (error) => this.#failed(from, to, error),
      gone: () => this.#gone(from, to),
      undeliverable: () => this.#lost(to, from),
    });
  }

  /** A side that ended while it waited: what it had sent was passed on just now, its end follows. */
  #endEarly(from: RelayPeer, to: RelayPeer): void {
    if (from.ended === undefined) return;
    this.#closing(from, to, from.ended);
    if (from.left) this.#gone(from, to);
  }

  #closing(from: RelayPeer, to: RelayPeer, status: CloseStatus): void {
    if (this.#over) return;
    if (this.#errorTold) {
      // The answer: now each side has sent its close frame.
      to.sendClose(status);
      this.#finishBoth();
    } else if (status.code !== 1000) this.#closedWithError(from, to, status);
    else if (to.ended === undefined) this.#firstEnded(from, to, status);
    else this.#bothEnded(from, to, status);
  }

  /** Nothing goes on after an error; the side that said it still gets what the other answers. */
  #closedWithError(from: RelayPeer, to: RelayPeer, status: CloseStatus): void {
    this.#cause = causeOfClose(from, status);
    this.#halfClose?.stop();
    const answered = to.ended !== undefined;
    this.#errorTold = true;
    to.sendClose(status, () => {
      if (this.#over) return;
      this.#linger = this.#options.clock.setTimer(this.#options.lingerMs, () => {
        from.sendClose(status);
        this.#finishBoth();
      });
    });
    if (answered) this.#finishBoth();
  }

  #firstEnded(from: RelayPeer, to: RelayPeer, status: CloseStatus): void {
    this.#cause = `ended_by_${from.side}`;
    this.#receivedAtEnd = to.receivedBytes;
    to.sendClose(status, () => {
      if (!this.#over && to.ended === undefined) this.#boundSilence(from, to);
    });
  }

  #boundSilence(from: RelayPeer, to: RelayPeer): void {
    const { clock, halfCloseMs: ms } = this.#options;
    const halfClose = new HalfCloseTimer({
      clock,
      ms,
      // A slow receiver is the limit on a stuck write's business.
      isBlocked: () => from.isBusy,
      expired: () => {
        const text = `The ${from.side} had ended, and the ${to.side} sent nothing for ${ms / 1000} s.`;
        this.#failedWith('half_close_timeout', new CulvertError('half_close_timeout', text));
        this.#endBoth(from, to, 'half_close_timeout', text);
      },
    });
    this.#halfClose = halfClose;
    to.watch(() => halfClose.moved());
  }

  /** The one that ended first is told the other's end; that one was told before. */
  #bothEnded(from: RelayPeer, to: RelayPeer, status: CloseStatus): void {
    if (this.#mayBeCut(from, to)) {
      const text = `The ${from.side}'s client does not know half-close: it closed when it was told the end, and may have had more to send.`;
      this.#failedWith(`lost_by_${from.side}`, new CulvertError('stream_lost', text));
      this.#endBoth(to, from, 'stream_lost', text);
      return;
    }
    to.sendClose(status);
    from.sendClose(status);
    this.#finishBoth();
  }

  /**
   * Whether a client that closes as soon as it is told the end may have been cut short by that: it was sending, or it is a device that was
   * asked something last by one who waits for the answer. A device that ends by FIN has ended cleanly.
   */
  #mayBeCut(from: RelayPeer, to: RelayPeer): boolean {
    if (from.isV1 || from.endedBy === 'empty messages') return false;
    if (from.side === 'device') {
      if (from.endedBy === 'fin') return false;
      if (to.isV1 && to.receivedBytes > 0 && !from.spokeLast) return true;
    }
    return from.receivedBytes > this.#receivedAtEnd;
  }

  #endBoth(told: RelayPeer, other: RelayPeer, code: ErrorCode, text: string): void {
    const error = new CulvertError(code, text);
    this.#finish();
    told.finishWith(error, 'flushed');
    other.finishWith(error, 'flushed');
  }

  #failed(from: RelayPeer, to: RelayPeer, error: CulvertError): void {
    const cause = lossOf(error.code, from);
    this.#failedWith(
      cause,
      error.code === 'stream_lost' ? new CulvertError('stream_lost', CLOSE_CAUSES[cause]) : error,
    );
    this.#finish();
    if (error.code === 'protocol_error') from.finishWith(error, 'now');
    else from.destroy();
    to.finishWith(otherSidesError(error), 'flushed');
  }

  /**
   * The side that ended first has left for good. A Culvert client leaves so when its program has gone; of another, what comes for it
   * decides: a stream that has nothing more to deliver has ended well.
   */
  #gone(from: RelayPeer, to: RelayPeer): void {
    if (this.#over || to.ended !== undefined) return;
    if (from.isV1 || to.receivedBytes > this.#receivedAtEnd) this.#lost(from, to);
  }

  /** What `to` sends cannot be delivered to `from`, which had ended. `to` was told that end; only the end of its connection tells it this. */
  #lost(from: RelayPeer, to: RelayPeer): void {
    if (this.#over) return;
    // A device that ended by FIN closes both directions by that.
    if (from.endedBy !== 'fin') {
      const cause: CloseCause = `lost_by_${from.side}`;
      this.#failedWith(cause, new CulvertError('stream_lost', CLOSE_CAUSES[cause]));
    }
    this.#finish();
    from.destroy();
    to.finish('flushed');
  }

  #failedWith(cause: CloseCause, error: CulvertError): void {
    this.#cause = cause;
    this.#endedWith = error;
  }

  #finishBoth(): void {
    this.#finish();
    this.device.finish('flushed');
    this.service.finish('flushed');
  }

  #finish(): void {
    this.#over = true;
    this.#linger?.cancel();
    this.#halfClose?.stop();
  }
}

/** A Culvert client reports by its close code that it waited too long for its own side. */
function causeOfClose(from: RelayPeer, { code }: CloseStatus): CloseCause {
  return from.isV1 && code === ERRORS.half_close_timeout.close ? 'half_close_timeout' : `ended_by_${from.side}`;
}

/** What the side that did nothing wrong is told: of a broken protocol that it was the other one, so that the text says what the log says. */
function otherSidesError(error: CulvertError): CulvertError {
  if (error.code === 'stalled') return error;
  if (error.code === 'protocol_error') return new CulvertError('stream_lost', 'The other side broke the protocol.');
  return new CulvertError('stream_lost');
}

function lossOf(code: ErrorCode, side: RelayPeer): CloseCause {
  if (code === 'protocol_error' || code === 'stalled') return code;
  return side.side === 'device' ? 'lost_by_device' : 'lost_by_service';
}
