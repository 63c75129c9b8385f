import { Counter, type Registry } from '@prometheus-io/client';
import type { LiveStreams } from '../live-streams.ts';
import type { Carried } from '../stream-record.ts';

/** Bytes and messages a stream has carried, each way. */
export interface CarriedBothWays {
  readonly fromService: Carried;
  readonly fromDevice: Carried;
}

/**
 * Counts what streams carry: those that are over, and at each scrape what the others have carried so far.
 * @param soFar the gateway's counters of a stream; undefined when the stream is not established
 * @returns a function to call for each stream that has ended
 */
export function carriedMetrics(
  registry: Registry,
  live: Pick<LiveStreams, 'list'>,
  soFar: (streamId: string) => CarriedBothWays | undefined,
): (over: CarriedBothWays) => void {
  const sum = newSum();
  const counter = (of: keyof Carried, name: string, help: string) =>
    new Counter({
      ...{ name, help },
      labelNames: ['from'] as const,
      registers: [registry],
      collect() {
        this.reset();
        const now = { ...sum };
        for (const { streamId } of live.list()) add(now, soFar(streamId));
        this.inc({ from: 'service' }, now.fromService[of]);
        this.inc({ from: 'device' }, now.fromDevice[of]);
      },
    });
  counter('bytes', 'culvert_stream_bytes_total', 'Payload bytes of streams, by the side they came from.');
  counter('messages', 'culvert_stream_messages_total', 'WebSocket messages of streams, by the side they came from.');
  return (over) => add(sum, over);
}

type Sum = Record<keyof CarriedBothWays, Carried>;

const newSum = (): Sum => ({ fromService: { bytes: 0, messages: 0 }, fromDevice: { bytes: 0, messages: 0 } });

function add(sum: Sum, more: CarriedBothWays | undefined): void {
  if (more === undefined) return;
  for (const from of ['fromService', 'fromDevice'] as const) {
    const { bytes, messages } = sum[from];
    sum[from] = { bytes: bytes + more[from].bytes, messages: messages + more[from].messages };
  }
}
