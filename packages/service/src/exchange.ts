import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type RequestOptions, request as startRequest } from 'node:https';
import { CulvertError, formatHostPort } from '@culvert/protocol';
import { abortReason, networkError } from '@culvert/stream';

/** Bytes of an answer's body: a page of 1,000 devices comes to 1.3 MB when all their ids and reasons have full length. */
const MAX_BODY_BYTES = 4_194_304;

interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/**
 * One HTTPS request and its whole answer, of any status.
 * @param repeatable whether to make it once more when the hub had closed the kept connection it was written to
 * @throws CulvertError `unreachable`, `untrusted`, `too_large` for an answer beyond 4 MiB, or the signal's reason
 */
export async function exchange(
  options: RequestOptions,
  body: Buffer | undefined,
  signal: AbortSignal,
  repeatable: boolean,
): Promise<HttpAnswer> {
  const response = await openResponse(options, body, signal, repeatable);
  try {
    return { status: response.statusCode ?? 0, headers: response.headers, body: await collect(response) };
  } catch (error) {
    response.destroy();
    throw signal.aborted ? abortReason(signal) : asCulvertError(error, whereOf(options));
  }
}

/**
 * One HTTPS request and the beginning of its answer, of any status; the rest is the caller's to read. `signal` ends it even then.
 * @throws CulvertError as {@link exchange}
 */
export function openResponse(
  options: RequestOptions,
  body: Buffer | undefined,
  signal: AbortSignal,
  repeatable: boolean,
): Promise<IncomingMessage> {
  return new Promise<IncomingMessage>((resolve, reject) => {
    if (signal.aborted) throw abortReason(signal);
    let answered = false;
    const request = startRequest(options, (response) => {
      answered = true;
      resolve(response);
    });
    // Destroying the request closes its connection, by which the hub learns that an offer is to be withdrawn.
    const abort = () => request.destroy(abortReason(signal));
    signal.addEventListener('abort', abort, { once: true });
    request.once('close', () => signal.removeEventListener('abort', abort));
    request.on('error', (error: NodeJS.ErrnoException) => {
      const stale = request.reusedSocket && !answered && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (stale && repeatable) resolve(openResponse(options, body, signal, false));
      else reject(asCulvertError(error, whereOf(options)));
    });
    request.end(body);
  });
}

function whereOf(options: RequestOptions): string {
  return formatHostPort(String(options.host), Number(options.port));
}

/** What the network said, in words. */
export function asCulvertError(error: unknown, where: string): CulvertError {
  return error instanceof CulvertError ? error : networkError(error, where);
}

/** An answer's whole body. @throws CulvertError `too_large` beyond 4 MiB */
export async function collect(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new CulvertError('too_large', "The hub's answer is longer than 4 MiB.");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
