import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type RequestOptions, request as startRequest } from 'node:https';
import { CulvertError, formatHostPort, parseErrorBody } from '@culvert/protocol';
import { abortReason, type KnownHub, networkError, verifiedCertificate } from '@culvert/stream';

/** Maximum bytes of an answer's body: a page of 1,000 devices has 1.3 MB if all their ids and reasons have full length. */
const MAX_BODY_BYTES = 4_194_304;

interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The hub's verified certificate on this connection. */
  readonly certificate: KnownHub['certificate'];
}

/** How a request is made. */
export interface ExchangeHandling {
  /** Ends the request with its reason. */
  readonly signal: AbortSignal;
  /** Whether to retry once if the request was written to a keep-alive connection that the hub had closed. */
  readonly repeatable: boolean;
  /** Whether the request keeps the process alive. */
  readonly keepsAlive: boolean;
}

/**
 * Makes one HTTPS request and resolves with its whole answer, whatever its status.
 * @throws CulvertError `unreachable`, `untrusted`, `too_large` for an answer beyond 4 MiB, or the signal's reason
 */
export function exchange(
  options: RequestOptions,
  body: Buffer | undefined,
  handling: ExchangeHandling,
): Promise<HttpAnswer> {
  const { signal, repeatable, keepsAlive } = handling;
  const where = formatHostPort(String(options.host), Number(options.port));
  return new Promise<HttpAnswer>((resolve, reject) => {
    if (signal.aborted) throw abortReason(signal);
    let answered = false;
    const request = startRequest(options, (response) => {
      answered = true;
      const certificate = verifiedCertificate(response.socket);
      collect(response).then(
        (text) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text, certificate }),
        (error: unknown) => {
          const reason = signal.aborted ? abortReason(signal) : asCulvertError(error, where);
          request.destroy();
          reject(reason);
        },
      );
    });
    // Destroying the request closes its connection. If it was a stream request, the hub then withdraws the offer.
    const abort = () => request.destroy(abortReason(signal));
    signal.addEventListener('abort', abort, { once: true });
    request.once('close', () => signal.removeEventListener('abort', abort));
    request.on('error', (error: NodeJS.ErrnoException) => {
      const stale = request.reusedSocket && !answered && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (stale && repeatable) resolve(exchange(options, body, { ...handling, repeatable: false }));
      else reject(asCulvertError(error, where));
    });
    if (!keepsAlive) request.once('socket', (socket) => socket.unref());
    request.end(body);
  });
}

/**
 * Makes one HTTPS request with an endless answer. Resolves with the answer as soon as it begins, if its status is 200.
 * @throws CulvertError as {@link exchange}, and the hub's error if the status is not 200
 */
export function openExchange(options: RequestOptions, signal: AbortSignal): Promise<IncomingMessage> {
  const where = formatHostPort(String(options.host), Number(options.port));
  return new Promise((resolve, reject) => {
    if (signal.aborted) throw abortReason(signal);
    const abort = () => request.destroy(abortReason(signal));
    const request = startRequest(options, (response) => {
      signal.removeEventListener('abort', abort);
      if (response.statusCode === 200) resolve(response);
      else
        collect(response).then(
          (body) => reject(parseErrorBody(response.statusCode ?? 0, body)),
          (error: unknown) => reject(asCulvertError(error, where)),
        );
    });
    signal.addEventListener('abort', abort);
    request.once('close', () => signal.removeEventListener('abort', abort));
    request.on('error', (error) => reject(asCulvertError(error, where)));
    request.end();
  });
}

function asCulvertError(error: unknown, where: string): CulvertError {
  return error instanceof CulvertError ? error : networkError(error, where);
}

async function collect(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new CulvertError('too_large', "The hub's answer is longer than 4 MiB.");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
