import { CulvertError, closeReason, errorFromClose } from '@culvert/protocol';
import type { WebSocket } from 'ws';

/** Callbacks of a {@link CloseHandshake}. Each is called at most once. */
export interface CloseHandshakeListener {
  /** The peer's Close 1000 was received, after all its bytes. */
  peerEnded(): void;
  /** The peer closed with any other code, or violated the protocol. */
  failed(error: CulvertError): void;
}

/**
 * Sends and receives the close frames of one WebSocket. `ws` answers a close frame as soon as it arrives. That would cut off the data that
 * this side has not sent yet, and an answer of 1000 would make the peer believe that the data was complete. `ws` sends this answer through
 * the socket's public `close` method, which this class replaces, so that the owner decides when to answer.
 */
export class CloseHandshake {
  /** Whether this side's close frame was sent. */
  isSent = false;

  readonly #listener: CloseHandshakeListener;
  /** The socket's original `close` method. */
  readonly #close: (code?: number, reason?: string | Buffer) => void;

  /** Replaces the socket's `close` method. */
  constructor(socket: WebSocket, listener: CloseHandshakeListener) {
    this.#listener = listener;
    this.#close = socket.close.bind(socket);
    socket.close = (code, reason) => this.#closedByLibrary(code, reason);
  }

  /** Sends this side's close frame; later calls have no effect. A reason of more than 123 bytes is truncated. */
  send(code: number, reason: string): void {
    if (this.isSent) return;
    this.isSent = true;
    this.#close(code, closeReason(reason));
  }

  #closedByLibrary(code: number | undefined, reason: string | Buffer | undefined): void {
    if (code === 1000 && reason !== undefined) {
      // If both sides have sent a close frame, this call ends the connection.
      if (this.isSent) this.#close();
      this.#listener.peerEnded();
      return;
    }
    this.isSent = true;
    this.#close(code ?? 1000, reason);
    // For a received close frame `ws` always passes a reason, which may be empty; it passes none when the peer violated the protocol.
    const received = reason !== undefined || code === undefined;
    this.#listener.failed(received ? closeError(code ?? 1005, String(reason ?? '')) : violationError(code));
  }
}

/** The error for a received close frame. A close frame without a code (1005) is an error too. */
export function closeError(code: number, reason: string): CulvertError {
  return errorFromClose(code, reason) ?? new CulvertError('stream_lost');
}

/** The error for a protocol violation by the peer, on which `ws` closes the connection with `code`. */
function violationError(code: number | undefined): CulvertError {
  return new CulvertError(code === 1009 ? 'too_large' : 'protocol_error');
}
