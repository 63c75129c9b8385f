import type { IncomingMessage } from 'node:http';
import { CulvertError, type CutView } from '@culvert/protocol';
import { abortReason, type Clock, type Timer } from '@culvert/stream';

/** Maximum characters of one event; the hub's longest event has about 50,000. */
const MAX_EVENT = 1_048_576;

/** Milliseconds without data after which the hub counts as unreachable: three of its keep-alive comments are missing by then. */
const SILENCE_MS = 45_000;

/** A received event. Its data comes from the hub and is trusted without validation. */
interface Notice {
  readonly event: string;
  readonly data: unknown;
}

/**
 * Reads server-sent events until the hub ends the stream of events. The hub always sends the reason in its last event.
 * @throws CulvertError the reason in the hub's last event; `unreachable` if no data arrived for too long or the connection was lost;
 * `protocol_error`; the signal's reason
 */
export async function* readEvents<N extends Notice>(
  response: IncomingMessage,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): AsyncGenerator<Exclude<N, { event: 'cut' }>, void, undefined> {
  let silence: Timer | undefined;
  const restartSilenceTimer = (): void => {
    silence?.cancel();
    silence = clock.setTimer(SILENCE_MS, () =>
      response.destroy(new CulvertError('unreachable', 'The hub sent nothing for too long.')),
    );
  };
  const abort = (): void => void response.destroy(abortReason(signal));
  signal.addEventListener('abort', abort);
  try {
    if (signal.aborted) throw abortReason(signal);
    restartSilenceTimer();
    let text = '';
    response.setEncoding('utf8');
    for await (const chunk of response as AsyncIterable<string>) {
      restartSilenceTimer();
      const events = (text + chunk).split('\n\n');
      text = events.pop() ?? '';
      if (text.length > MAX_EVENT) throw new CulvertError('protocol_error', 'The hub sent an event that is too long.');
      for (const event of events) {
        const notice = parseEvent(event);
        if (notice?.event === 'cut') throw cutError(notice.data);
        if (notice !== undefined) yield notice as Exclude<N, { event: 'cut' }>;
      }
    }
    throw new CulvertError('unreachable', 'The hub ended the connection.');
  } catch (error) {
    throw CulvertError.from(error, 'unreachable', 'The connection to the hub broke.');
  } finally {
    silence?.cancel();
    signal.removeEventListener('abort', abort);
    response.destroy();
  }
}

/** Parses one event; returns undefined for a keep-alive comment. */
function parseEvent(text: string): Notice | undefined {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1).replace(/^ /, ''));
  }
  const event = fields.get('event');
  const data = fields.get('data');
  if (event === undefined || data === undefined) return undefined;
  try {
    return { event, data: JSON.parse(data) };
  } catch (error) {
    throw new CulvertError('protocol_error', 'The hub sent an event that is not JSON.', { cause: error });
  }
}

function cutError(data: unknown): CulvertError {
  const { code, detail } = data as CutView;
  return new CulvertError(code, detail);
}
