import * as http from 'node:http';
import * as https from 'node:https';
import { CulvertError } from '@culvert/protocol';
import { abortReason, type Clock, deadline, linkSignals, outboundAgent } from '@culvert/stream';

/** Milliseconds an answer may take. */
const ANSWER_MS = 10_000;

/** An answer's status, and how long its sender wants to be left alone. */
export interface Posted {
  readonly status: number;
  /** Milliseconds, from `Retry-After` in seconds; undefined: it said nothing of the kind. */
  readonly retryAfterMs: number | undefined;
}

/**
 * Sends JSON to a collector, by a proxy where the environment names one for HTTPS. The answer's body is not read.
 * @throws CulvertError `unreachable`; the signal's reason
 */
export async function postJson(
  url: URL,
  body: string,
  options: { clock: Clock; signal?: AbortSignal | undefined; headers?: Readonly<Record<string, string>> },
): Promise<Posted> {
  const limit = deadline(options.clock, ANSWER_MS, () => new CulvertError('unreachable', 'The receiver is silent.'));
  const { signal, unlink } = linkSignals([options.signal, limit.signal]);
  const agent = url.protocol === 'https:' ? await outboundAgent(url) : undefined;
  try {
    return await post(url, body, { signal, agent, headers: options.headers ?? {} });
  } catch (error) {
    if (signal.aborted) throw abortReason(signal);
    throw CulvertError.from(error, 'unreachable', 'The receiver cannot be reached.');
  } finally {
    agent?.destroy();
    unlink();
    limit.cancel();
  }
}

function post(
  url: URL,
  body: string,
  { signal, agent, headers }: { signal: AbortSignal; agent: https.Agent | undefined; headers: Record<string, string> },
): Promise<Posted> {
  const content = { 'content-type': 'application/json', 'content-length': `${Buffer.byteLength(body)}` };
  const options = { method: 'POST', headers: { ...headers, ...content }, signal, agent: agent ?? false };
  return new Promise((resolve, reject) => {
    const start = url.protocol === 'https:' ? https.request : http.request;
    const request = start(url, options, (response) => {
      const after = Number(response.headers['retry-after']);
      resolve({ status: response.statusCode ?? 0, retryAfterMs: after > 0 ? after * 1_000 : undefined });
      // Connections are not kept, so nobody has to wait for what it says.
      response.destroy();
    });
    request.on('error', reject);
    request.end(body);
  });
}
