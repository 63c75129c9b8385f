import { Counter, type Registry } from '@prometheus-io/client';
import type { LiveStreams } from '../live-streams.ts';
import type { Carried } from '../stream-record.ts';

/** The bytes and messages that a stream has carried in each direction. */
export interface CarriedBothWays {
  readonly fromService: Carried;
  readonly fromDevice: Carried;
}

/**
 * Registers counters of the bytes and messages of all streams. At each scrape they show the sum of all ended streams plus the current counts of the
 * open ones.
 * @param soFar returns the gateway's counts of an open stream; undefined if the stream is not established
 * @returns a function to call for each stream that has ended
 */
export function carriedMetrics(
  registry: Registry,
  live: Pick<LiveStreams, 'list'>,
  soFar: (streamId: string) => CarriedBothWays | undefined,
): (over: CarriedBothWays) => void {
  const sum = emptyTotals();
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

type Totals = Record<keyof CarriedBothWays, Carried>;

const emptyTotals = (): Totals => ({ fromService: { bytes: 0, messages: 0 }, fromDevice: { bytes: 0, messages: 0 } });

function add(sum: Totals, more: CarriedBothWays | undefined): void {
  if (more === undefined) return;
  for (const from of ['fromService', 'fromDevice'] as const) {
    const { bytes, messages } = sum[from];
    sum[from] = { bytes: bytes + more[from].bytes, messages: messages + more[from].messages };
  }
}
