import type { IncomingMessage } from 'node:http';
import { CulvertError } from '@culvert/protocol';
import { abortReason, type Clock } from '@culvert/stream';

/** Milliseconds without data after which an event stream counts as lost: the hub sends data at least every 25 s. */
const SILENCE_MS = 60_000;

/** Maximum characters of one line; the longest record has a few thousand. */
const MAX_LINE = 1_048_576;

/** One server-sent event (HTML standard §9.2). */
export interface LogEvent {
  /** The last id received so far; empty if there was none. */
  readonly id: string;
  /** `message` unless the hub sent another type. */
  readonly type: string;
  /** Empty for an event that contains only an id. */
  readonly data: string;
}

/**
 * Yields the events of an answer until the hub ends it cleanly. Always destroys the answer when done.
 * @throws CulvertError the signal's reason; `unreachable` if the connection was lost or no data arrived for a minute; `protocol_error` for a line
 * that is too long
 */
export async function* logEvents(
  response: IncomingMessage,
  clock: Clock,
  signal: AbortSignal | undefined,
): AsyncGenerator<LogEvent> {
  let fields = { id: '', type: '', data: '' };
  let touched = false;
  const abort = (): void => void response.destroy(signal === undefined ? undefined : abortReason(signal));
  signal?.addEventListener('abort', abort);
  try {
    if (signal?.aborted) throw abortReason(signal);
    for await (const line of lines(response, clock)) {
      if (line === '') {
        if (touched) yield { ...fields, type: fields.type || 'message' };
        fields = { id: fields.id, type: '', data: '' };
        touched = false;
        continue;
      }
      const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
      if (name === 'id') fields.id = value;
      else if (name === 'event') fields.type = value;
      else if (name === 'data') fields.data += fields.data === '' ? value : `\n${value}`;
      else continue;
      touched = true;
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    response.destroy();
  }
}

async function* lines(response: IncomingMessage, clock: Clock): AsyncGenerator<string> {
  const chunks = (response.setEncoding('utf8') as AsyncIterable<string>)[Symbol.asyncIterator]();
  let rest = '';
  for (;;) {
    const chunk = await within(SILENCE_MS, clock, response, chunks.next());
    if (chunk.done === true) return;
    const parts = (rest + chunk.value).split(/\r\n|\n|\r/);
    rest = parts.pop() ?? '';
    if (rest.length > MAX_LINE) throw new CulvertError('protocol_error', 'The hub sent a line that is too long.');
    yield* parts;
  }
}

/** Limits the time until the next chunk arrives. Time in which the caller does not wait for a chunk does not count as silence of the hub. */
async function within<T>(ms: number, clock: Clock, response: IncomingMessage, chunk: Promise<T>): Promise<T> {
  const silence = clock.setTimer(ms, () =>
    response.destroy(new CulvertError('unreachable', 'The hub sent nothing for a minute.')),
  );
  try {
    return await chunk;
  } catch (error) {
    throw CulvertError.from(error, 'unreachable', 'The connection to the hub was lost.');
  } finally {
    silence.cancel();
  }
}
