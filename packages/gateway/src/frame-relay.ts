import { CLOSE_CAUSES, type CloseCause, CulvertError, type ErrorCode } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { CloseStatus } from './close-frame.ts';
import type { RelayEnd } from './relay-end.ts';
import { causeOf } from './stream-cause.ts';

export interface FrameRelayOptions {
  readonly clock: Clock;
  /** Milliseconds the other direction goes on after the close frame of one side was passed on. */
  readonly lingerMs: number;
}

/**
 * Joins the two ends of a stream until both directions have ended. One side's close frame goes to the other, after every byte
 * before it; then the other direction goes on until its close frame comes back. A raw stream has no half-close, so it waits for
 * that no longer than `lingerMs`.
 */
export class FrameRelay {
  /** Resolves with the reason when both sockets are closed; never rejects. */
  readonly closed: Promise<CloseCause>;
  readonly device: RelayEnd;
  readonly service: RelayEnd;

  readonly #options: FrameRelayOptions;
  /** Why it ends: the first thing that happened. */
  #cause: CloseCause | undefined;
  #endedWith: CulvertError | undefined;
  #linger: Timer | undefined;
  #over = false;

  constructor(device: RelayEnd, service: RelayEnd, options: FrameRelayOptions) {
    this.device = device;
    this.service = service;
    this.#options = options;
    this.closed = Promise.all([device.closed, service.closed]).then(() => {
      this.#linger?.cancel();
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
  end(error: CulvertError, cause = causeOf(error.code)): void {
    if (this.#cause === undefined) this.#endedWith = error;
    this.#cause ??= cause;
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

  #listen(from: RelayEnd, to: RelayEnd): void {
    from.handTo({
      closing: (status) => this.#closing(from, to, status),
      failed: (error) => this.#failed(from, to, error),
      gone: () => this.#gone(to),
    });
  }

  /** A side that ended while it waited: what it had sent was passed on just now, its end follows. */
  #endEarly(from: RelayEnd, to: RelayEnd): void {
    if (from.ended === undefined) return;
    this.#closing(from, to, from.ended);
    if (from.left) this.#gone(to);
  }

  #closing(from: RelayEnd, to: RelayEnd, status: CloseStatus): void {
    this.#cause ??= from.side === 'device' ? 'ended_by_device' : 'ended_by_service';
    if (to.silent) {
      // The answer: now each side has sent its close frame.
      to.sendClose(status);
      this.#finishBoth();
      return;
    }
    to.sendClose(status, () => {
      if (this.#over) return;
      this.#linger = this.#options.clock.setTimer(this.#options.lingerMs, () => {
        from.sendClose(status);
        this.#finishBoth();
      });
    });
  }

  #failed(from: RelayEnd, to: RelayEnd, error: CulvertError): void {
    if (this.#cause === undefined) {
      this.#cause = lossOf(error.code, from);
      this.#endedWith =
        error.code === 'stream_lost' ? new CulvertError('stream_lost', CLOSE_CAUSES[this.#cause]) : error;
    }
    this.#finish();
    if (error.code === 'protocol_error') from.finishWith(error, 'now');
    else from.destroy();
    to.finishWith(otherSidesError(error), 'flushed');
  }

  /** The side that closed first has left for good: nothing can be delivered to it any more. */
  #gone(to: RelayEnd): void {
    this.#finish();
    to.finish('flushed');
  }

  #finishBoth(): void {
    this.#finish();
    this.device.finish('flushed');
    this.service.finish('flushed');
  }

  #finish(): void {
    this.#over = true;
    this.#linger?.cancel();
  }
}

/** What the side that did nothing wrong is told: of a broken protocol that it was the other one, so that the text says what the log says. */
function otherSidesError(error: CulvertError): CulvertError {
  if (error.code === 'stalled') return error;
  if (error.code === 'protocol_error') return new CulvertError('stream_lost', 'The other side broke the protocol.');
  return new CulvertError('stream_lost');
}

function lossOf(code: ErrorCode, side: RelayEnd): CloseCause {
  if (code === 'protocol_error' || code === 'stalled') return code;
  return side.side === 'device' ? 'lost_by_device' : 'lost_by_service';
}
