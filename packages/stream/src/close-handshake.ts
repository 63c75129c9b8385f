import { CulvertError, closeReason, errorFromClose } from '@culvert/protocol';
import type { WebSocket } from 'ws';

/** What a {@link CloseHandshake} tells its owner; each at most once. */
export interface CloseHandshakeListener {
  /** The peer's Close 1000 came, after all its bytes. */
  peerEnded(): void;
  /** The peer closed with any other code, or was found at fault. */
  failed(error: CulvertError): void;
}

/**
 * The close frames of one WebSocket. `ws` answers a close frame in the turn in which it arrives, which would cut off what our side still
 * has to say and, worse, tell the peer with its own code 1000 that this was all. It does so through the public `close`: here the owner
 * decides when to answer instead.
 */
export class CloseHandshake {
  /** Whether our close frame was sent. */
  isSent = false;

  readonly #listener: CloseHandshakeListener;
  /** The socket's own `close`. */
  readonly #close: (code?: number, reason?: string | Buffer) => void;

  /** Takes the place of the socket's `close`. */
  constructor(socket: WebSocket, listener: CloseHandshakeListener) {
    this.#listener = listener;
    this.#close = socket.close.bind(socket);
    socket.close = (code, reason) => this.#closedByLibrary(code, reason);
  }

  /** Sends our close frame; only the first one counts. A reason of more than 123 bytes is cut. */
  send(code: number, reason: string): void {
    if (this.isSent) return;
    this.isSent = true;
    this.#close(code, closeReason(reason));
  }

  #closedByLibrary(code: number | undefined, reason: string | Buffer | undefined): void {
    if (code === 1000 && reason !== undefined) {
      // Once both close frames have been exchanged this ends the connection.
      if (this.isSent) this.#close();
      this.#listener.peerEnded();
      return;
    }
    this.isSent = true;
    this.#close(code ?? 1000, reason);
    // A close frame that was received always has a reason, be it empty; `ws` gives none when it found the peer at fault.
    const received = reason !== undefined || code === undefined;
    this.#listener.failed(received ? closeError(code ?? 1005, String(reason ?? '')) : fault(code));
  }
}

/** The error of a close frame that was received; an empty one (1005) is no clean end either. */
export function closeError(code: number, reason: string): CulvertError {
  return errorFromClose(code, reason) ?? new CulvertError('stream_lost');
}

/** The error of a peer that `ws` closes on with `code`. */
function fault(code: number | undefined): CulvertError {
  return new CulvertError(code === 1009 ? 'too_large' : 'protocol_error');
}
