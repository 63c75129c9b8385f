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
  /** Milliseconds a side has to answer a close frame whose code is an error. */
  readonly lingerMs: number;
}

/**
 * Joins the two sides of a stream until both directions have ended. When one side ends its direction, the other side is sent a close frame after
 * all bytes of that direction. The other direction then continues until it ends too: without a time limit while bytes flow, but for at most
 * `halfCloseMs` of silence. A close frame with code 1000 is sent only when the side it stands for has ended its direction.
 */
export class FrameRelay {
  /** Resolves with the close cause when both sockets are closed; never rejects. */
  readonly closed: Promise<CloseCause>;
  readonly device: RelayPeer;
  readonly service: RelayPeer;

  readonly #options: FrameRelayOptions;
  /** The close cause. A failure replaces the clean end of one side. */
  #cause: CloseCause | undefined;
  #endedWith: CulvertError | undefined;
  /** Whether a side closed with an error code, and the other side was sent that close frame. */
  #errorForwarded = false;
  /** Runs from a close frame with an error code until it is answered. */
  #linger: Timer | undefined;
  /** Runs while only one direction has ended. */
  #halfClose: HalfCloseTimer | undefined;
  /** Payload bytes received in the direction that continues, at the time when the other direction ended. */
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

  /** The error that ended the stream; undefined when a side ended it with a close frame. */
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

  /** Destroys both connections. */
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

  /** Handles a side that ended its direction while it waited for the other: its data was passed on just before, now its end is. */
  #endEarly(from: RelayPeer, to: RelayPeer): void {
    if (from.ended === undefined) return;
    this.#closing(from, to, from.ended);
    if (from.left) this.#gone(from, to);
  }

  #closing(from: RelayPeer, to: RelayPeer, status: CloseStatus): void {
    if (this.#over) return;
    if (this.#errorForwarded) {
      // This close frame is the answer: both sides have now sent one.
      to.sendClose(status);
      this.#finishBoth();
    } else if (status.code !== 1000) this.#closedWithError(from, to, status);
    else if (to.ended === undefined) this.#firstEnded(from, to, status);
    else this.#bothEnded(from, to, status);
  }

  /** A close frame with an error code ends both directions. The side that sent it still receives the other side's answer. */
  #closedWithError(from: RelayPeer, to: RelayPeer, status: CloseStatus): void {
    this.#cause = causeOfClose(from, status);
    this.#halfClose?.stop();
    const answered = to.ended !== undefined;
    this.#errorForwarded = true;
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
      // While the receiver is slow, the stall limit on writes applies instead.
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

  /** Sends the end of `from` to `to`, the side that ended first. `from` was already sent the end of `to`. */
  #bothEnded(from: RelayPeer, to: RelayPeer, status: CloseStatus): void {
    // `from` sent data together with its end, and the data cannot be delivered. Data without the end would already have failed the stream.
    if (to.left && from.receivedBytes > this.#receivedAtEnd) {
      this.#lost(to, from);
      return;
    }
    if (this.#mayBeTruncated(from, to)) {
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
   * Whether the data of `from` may be incomplete because its client closes as soon as it receives the other side's end. That is the case if it sent
   * data after that end, or if it is a device that had not answered the last data of a Culvert service. A device that ends by FIN has ended cleanly.
   */
  #mayBeTruncated(from: RelayPeer, to: RelayPeer): boolean {
    if (from.isV1 || from.endedBy === 'empty messages') return false;
    if (from.side === 'device') {
      if (from.endedBy === 'fin') return false;
      if (to.isV1 && to.receivedBytes > 0 && !from.spokeLast) return true;
    }
    return from.receivedBytes > this.#receivedAtEnd;
  }

  #endBoth(first: RelayPeer, second: RelayPeer, code: ErrorCode, text: string): void {
    const error = new CulvertError(code, text);
    this.#finish();
    first.finishWith(error, 'flushed');
    second.finishWith(error, 'flushed');
  }

  #failed(from: RelayPeer, to: RelayPeer, error: CulvertError): void {
    const cause = causeOfFailure(error.code, from);
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
   * Handles the disconnect of the side that ended first. A Culvert client disconnects in this way only when its program has ended, so the stream
   * is lost. For any other client the stream is lost only if there is data that can no longer be delivered to it.
   */
  #gone(from: RelayPeer, to: RelayPeer): void {
    if (this.#over || to.ended !== undefined) return;
    if (from.isV1 || to.receivedBytes > this.#receivedAtEnd) this.#lost(from, to);
  }

  /**
   * Ends the stream because `from`, which had ended, has disconnected and data of `to` cannot be delivered to it. `to` was already sent a close
   * frame, so only the end of its connection can report this.
   */
  #lost(from: RelayPeer, to: RelayPeer): void {
    if (this.#over) return;
    // The FIN of such a device ends both directions, so this is not an error.
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

/** The cause for a received close frame. A Culvert client has a close code of its own to report that its local side was silent for too long. */
function causeOfClose(from: RelayPeer, { code }: CloseStatus): CloseCause {
  return from.isV1 && code === ERRORS.half_close_timeout.close ? 'half_close_timeout' : `ended_by_${from.side}`;
}

/** The error sent to the side that did not cause it. For a protocol error its text names the other side as the cause, as the log does. */
function otherSidesError(error: CulvertError): CulvertError {
  if (error.code === 'stalled') return error;
  if (error.code === 'protocol_error') return new CulvertError('stream_lost', 'The other side broke the protocol.');
  return new CulvertError('stream_lost');
}

function causeOfFailure(code: ErrorCode, side: RelayPeer): CloseCause {
  if (code === 'protocol_error' || code === 'stalled') return code;
  return side.side === 'device' ? 'lost_by_device' : 'lost_by_service';
}
