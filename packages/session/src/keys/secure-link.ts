import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { abortReason, type Clock, destroyConnection, inBackground, networkFault, OPEN_MS } from '@culvert/stream';
import { limitHandshakeBytes } from './handshake-bytes.ts';
import { LINK_PROTOCOL, type LinkContext } from './link-context.ts';
import { type LinkPeer, linkPeer } from './link-peer.ts';

/** Milliseconds until a link is encrypted and its peer checked. */
export const LINK_HANDSHAKE_MS = OPEN_MS;

/** Label and length in bytes of the value that binds a session to its link (RFC 8446 §7.5, RFC 5705). */
const BINDING = { label: 'EXPORTER-culvert-session-1', bytes: 32 } as const;

const TOO_LONG = 'The other end sent too many bytes before its TLS handshake was complete.';

/** In TLS 1.3 the same as none. */
const NO_CONTEXT = Buffer.alloc(0);

/** How a link is encrypted, and who may be its peer. */
export interface SecureLinkOptions {
  readonly context: LinkContext;
  /** Its timers do not keep the process alive: a link that is lost while nobody uses its session would hold a program back that has finished. */
  readonly clock: Clock;
  /** Decides whether the peer's key is accepted: throws CulvertError if not. Nothing is sent to the peer, or read from it, before this has returned. */
  readonly checkPeer: (peer: LinkPeer) => void | Promise<void>;
  /**
   * Device only: what to send to a service side whose key was refused. In TLS 1.3 the client has completed its handshake before the server has seen its
   * certificate, so it cannot know otherwise. Without it the link is just closed.
   */
  readonly farewell?: (error: CulvertError) => Uint8Array;
  /** Aborts the handshake. Has no effect afterwards. */
  readonly signal?: AbortSignal;
}

/** A link that is encrypted between the two ends, whose keys have been checked. */
export interface SecureLink {
  /**
   * Not read from yet. Destroying it destroys the stream below. It may fail at any time; an error that nobody listens for does not end the process. That it
   * ends cleanly proves nothing: whoever carries the stream can end it. A link is not half-closed: what an end sends after the other's end may be lost.
   */
  readonly duplex: Duplex;
  readonly peer: LinkPeer;
  /** 32 bytes that only the two ends of this link know: equal at both, different for each link. */
  readonly binding: Uint8Array;
}

/**
 * Encrypts a link by TLS 1.3: the service side is the client. Each handshake is a full one. The duplex is destroyed when this fails.
 * @param duplex not read from yet, and without 'data' listeners; not a socket of `node:net`, from which TLS would read without a limit
 * @throws CulvertError what `checkPeer` throws; `handshake_timeout` after {@link LINK_HANDSHAKE_MS}; `protocol_error` when the peer does not speak TLS 1.3
 * and this protocol, or sends more than 16 KiB before it is done; `stream_lost` when the stream ends; the signal's abort reason
 */
export function secureLink(duplex: Duplex, options: SecureLinkOptions): Promise<SecureLink> {
  return new Promise((resolve, reject) => {
    const { context, signal } = options;
    const clock = inBackground(options.clock);
    let tls: TLSSocket | undefined;
    let state: 'handshake' | 'checking' | 'settled' = 'handshake';

    const fail = (error: CulvertError): void => {
      if (state === 'settled') return;
      settle();
      if (tls !== undefined) destroyConnection(tls);
      destroyConnection(duplex);
      reject(error);
    };
    const settle = (): void => {
      state = 'settled';
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      duplex.off('close', onClose);
      duplex.off('end', onEnd);
    };
    const onAbort = (): void => fail(signal === undefined ? lost() : abortReason(signal));
    const onClose = (): void => fail(lost(duplex.errored));
    // TLS does not tell of a clean end before its handshake is complete. Afterwards data may stand before the end.
    const onEnd = (): void => {
      if (state === 'handshake') fail(lost());
    };
    const check = async (link: SecureLink): Promise<void> => {
      await options.checkPeer(link.peer);
      if (state === 'settled') return;
      settle();
      resolve(link);
    };

    const timer = clock.setTimer(LINK_HANDSHAKE_MS, () => fail(timedOut()));
    // The stream may fail in the moment between this function's end and its caller's next step.
    duplex.on('error', ignore);
    if (duplex.destroyed || signal?.aborted) {
      if (duplex.destroyed) onClose();
      else onAbort();
      return;
    }
    duplex.once('close', onClose);
    duplex.once('end', onEnd);
    signal?.addEventListener('abort', onAbort, { once: true });
    const onDone = (connection: TLSSocket): void => {
      tls = connection;
      // Node only tells of a TLS error after the handshake, such as a changed byte, and leaves the connection open.
      connection.on('error', () => destroyConnection(connection));
      if (state === 'settled') return;
      state = 'checking';
      const fault = linkFault(tls);
      if (fault !== undefined) {
        fail(new CulvertError('protocol_error', fault));
        return;
      }
      const { bytes, label } = BINDING;
      const link = { duplex: tls, peer: linkPeer(tls), binding: tls.exportKeyingMaterial(bytes, label, NO_CONTEXT) };
      check(link).catch((error: unknown) => {
        const refusal = CulvertError.from(error);
        if (options.farewell === undefined || state === 'settled') return fail(refusal);
        settle();
        sendLast(connection, options.farewell(refusal), clock);
        reject(refusal);
      });
    };
    try {
      context.startHandshake(duplex, { onDone, onFailed: (error) => fail(handshakeError(error)) });
      limitHandshakeBytes(duplex, {
        maxBytes: LIMITS.tlsHandshakeBytes,
        isDone: () => state !== 'handshake',
        onTooLong: () => fail(new CulvertError('protocol_error', TOO_LONG)),
      });
    } catch (error) {
      fail(CulvertError.from(error));
    }
  });
}

/** What makes a complete handshake unacceptable, whatever the peer's key; undefined if nothing does. */
export function linkFault(
  tls: Pick<TLSSocket, 'getProtocol' | 'alpnProtocol' | 'isSessionReused'>,
): string | undefined {
  // The contexts exclude the first and the last. These checks hold even if a context is changed.
  if (tls.getProtocol() !== 'TLSv1.3') return 'The other end does not speak TLS 1.3.';
  if (tls.alpnProtocol !== LINK_PROTOCOL) return `The other end does not speak ${LINK_PROTOCOL}.`;
  if (tls.isSessionReused()) return 'The TLS session was resumed, so that the keys were not proved again.';
  return undefined;
}

/** Sends `bytes` and ends the link, at the latest after {@link LIMITS.lingerMs}. */
function sendLast(tls: TLSSocket, bytes: Uint8Array, clock: Clock): void {
  const destroy = (): void => destroyConnection(tls);
  const timer = clock.setTimer(LIMITS.lingerMs, destroy);
  tls.once('close', () => timer.cancel());
  tls.once('end', destroy);
  // What the refused peer sends is not read by anybody; its end is.
  tls.resume();
  tls.end(bytes);
}

function handshakeError(error: Error): CulvertError {
  if (error instanceof CulvertError) return error;
  const isTls = 'code' in error && String(error.code).startsWith('ERR_SSL_');
  if (!isTls) return lost(error);
  const text = `The TLS handshake with the other end failed: ${networkFault(error)}.`;
  return new CulvertError('protocol_error', text, { cause: error });
}

function lost(cause?: Error | null): CulvertError {
  return CulvertError.from(cause ?? undefined, 'stream_lost', 'The link was lost before it was encrypted.');
}

function timedOut(): CulvertError {
  const text = `The other end did not complete the TLS handshake within ${LINK_HANDSHAKE_MS / 1_000} s.`;
  return new CulvertError('handshake_timeout', text);
}

function ignore(): void {}
