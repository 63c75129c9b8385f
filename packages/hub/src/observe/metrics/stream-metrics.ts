import { CLOSE_CAUSES, type CloseCause } from '@culvert/protocol';
import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client';
import type { EventSink } from '../events.ts';
import type { LiveStreams } from '../live-streams.ts';
import type { LiveStream, StreamRecord } from '../stream-record.ts';
import { type CarriedBothWays, carriedMetrics } from './carried-metrics.ts';

/** Histogram buckets in seconds. A handshake may take 60 s. */
const HANDSHAKE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Histogram buckets in seconds: from the duration of one web request to one day. */
const DURATION_BUCKETS = [1, 10, 60, 600, 3_600, 21_600, 86_400];

/** The stages of a handshake: until the offer is sent, until the device answers, until both sides have connected to the gateway, and the total. */
const STAGES = ['offer', 'answer', 'meeting', 'total'] as const;

/**
 * Registers the metrics of streams. No label names a device, so the number of time series does not grow with the number of devices.
 * @param soFar returns the gateway's counts of an open stream; undefined if the stream is not established
 * @returns a sink for the hub's events
 */
export function streamMetrics(
  registry: Registry,
  live: Pick<LiveStreams, 'get' | 'list'>,
  soFar: (streamId: string) => CarriedBothWays | undefined,
): EventSink {
  const registers = [registry];
  const handshakes = new Counter({
    name: 'culvert_handshakes_total',
    help: 'Streams asked for, by how the handshake ended (established, rejected, failed) and, unless established, why.',
    labelNames: ['outcome', 'cause'] as const,
    registers,
  });
  const stages = new Histogram({
    name: 'culvert_handshake_duration_seconds',
    help: 'Handshakes that were established, by stage: offer (until the device was asked), answer, meeting (at the gateway), total.',
    labelNames: ['stage'] as const,
    buckets: HANDSHAKE_BUCKETS,
    registers,
  });
  const ended = new Counter({
    name: 'culvert_streams_ended_total',
    help: 'Streams that had been established, by why they ended.',
    labelNames: ['cause'] as const,
    registers,
  });
  const durations = new Histogram({
    name: 'culvert_stream_duration_seconds',
    help: 'How long streams lasted, from when they were established.',
    buckets: DURATION_BUCKETS,
    registers,
  });
  const countCarried = carriedMetrics(registry, live, soFar);
  const offers = new Counter({ name: 'culvert_offers_total', help: 'Offers made to devices.', registers });
  addStreamGauge(registry, live);

  // Create all series at start, so that the first event of a kind increases an existing series.
  handshakes.inc({ outcome: 'established', cause: '' }, 0);
  for (const cause of Object.keys(CLOSE_CAUSES) as CloseCause[]) {
    handshakes.inc({ outcome: outcomeOf(cause), cause }, 0);
    ended.inc({ cause }, 0);
  }
  for (const stage of STAGES) stages.zero({ stage });

  const count = (record: StreamRecord) => {
    countCarried(record);
    const { cause, establishedAt } = record;
    if (establishedAt === undefined) {
      handshakes.inc({ outcome: outcomeOf(cause), cause });
      return;
    }
    ended.inc({ cause });
    durations.observe((record.endedAt - establishedAt) / 1e3);
  };

  return (event) => {
    switch (event.type) {
      case 'stream-offered':
        offers.inc();
        return;
      case 'stream-established':
        handshakes.inc({ outcome: 'established', cause: '' });
        for (const [stage, seconds] of stagesOf(live.get(event.streamId))) stages.observe({ stage }, seconds);
        return;
      case 'stream-ended':
        count(event.record);
        return;
      case 'stream-interrupted':
        ended.inc({ cause: 'hub_died' });
    }
  };
}

function addStreamGauge(registry: Registry, live: Pick<LiveStreams, 'list'>): void {
  new Gauge({
    name: 'culvert_streams',
    help: 'Streams now: asked for and not yet established (opening), or established (open).',
    labelNames: ['state'] as const,
    registers: [registry],
    collect() {
      const streams = live.list();
      const open = streams.filter(({ establishedAt }) => establishedAt !== undefined).length;
      this.set({ state: 'open' }, open);
      this.set({ state: 'opening' }, streams.length - open);
    },
  });
}

/** The outcome of a handshake that did not establish the stream. A rejection by the device does not count as a failure; all other causes do. */
function outcomeOf(cause: CloseCause): 'rejected' | 'failed' {
  return cause === 'rejected' ? 'rejected' : 'failed';
}

function stagesOf(stream: LiveStream | undefined): [(typeof STAGES)[number], number][] {
  if (stream?.offeredAt === undefined || stream.answeredAt === undefined || stream.establishedAt === undefined)
    return [];
  const { requestedAt, offeredAt, answeredAt, establishedAt } = stream;
  return [
    ['offer', (offeredAt - requestedAt) / 1e3],
    ['answer', (answeredAt - offeredAt) / 1e3],
    ['meeting', (establishedAt - answeredAt) / 1e3],
    ['total', (establishedAt - requestedAt) / 1e3],
  ];
}
