import { stat } from 'node:fs/promises';
import { z } from 'zod';
import type { LiveStream } from '../stream-record.ts';
import { linesOf } from './lines.ts';
import { listSegments, type SegmentFile } from './segment-files.ts';

/**
 * The newest files that are looked at: two at least, since each says at its beginning which streams are open and the last may have been cut short
 * there; more, as after several starts in a row, while together they are small.
 */
const FILES = { least: 2, most: 16, maxBytes: 8_388_608 };

/** Streams that are told of; a hub has 20,000 by default. The rest of what one can have is not worth a start that never ends. */
const MAX_STREAMS = 100_000;

/** Kinds of records that open or close a stream, told from others before they are parsed. */
const RELEVANT = /"type":"(stream-established|streams-open|stream-ended|log-closed)"/;

const at = z.iso.datetime().transform((text) => Date.parse(text));

const openStream = z.object({
  streamId: z.string(),
  streamName: z.string(),
  deviceId: z.string(),
  moduleId: z.string().optional(),
  caller: z.string(),
  callerAddress: z.string(),
  traceParent: z.string().optional(),
  gateway: z.string(),
  requestedAt: at,
  offeredAt: at.optional(),
  answeredAt: at.optional(),
  answeredBy: z
    .object({
      principal: z.string(),
      protocol: z.enum(['mqtt', 'mqtt-ws', 'amqp', 'amqp-ws']),
      remoteAddress: z.string(),
    })
    .optional(),
  establishedAt: at,
  serviceAddress: z.string().optional(),
  deviceAddress: z.string().optional(),
});

const relevantRecord = z.discriminatedUnion('type', [
  z.object({ type: z.literal('stream-established'), stream: openStream }),
  z.object({ type: z.literal('streams-open'), streams: z.array(openStream) }),
  z.object({ type: z.literal('stream-ended'), stream: z.object({ streamId: z.string() }) }),
  z.object({ type: z.literal('log-closed') }),
]);

/**
 * The streams that the record says were established and not that they ended: they were open when the hub died. Told as ended, a stream is not
 * found again; so whoever is interrupted while telling tells the rest at the next start.
 * @throws what the file system says
 */
export async function findOpenStreams(directory: string): Promise<LiveStream[]> {
  const open = new Map<string, LiveStream>();
  for (const { path } of await newestFiles(await listSegments(directory))) {
    for await (const { text, complete } of linesOf(path)) {
      if (text === undefined || !complete || !RELEVANT.test(text)) continue;
      follow(open, text);
    }
  }
  return [...open.values()];
}

async function newestFiles(files: readonly SegmentFile[]): Promise<SegmentFile[]> {
  const found: SegmentFile[] = [];
  let bytes = 0;
  for (const file of files.toReversed()) {
    bytes += (await stat(file.path)).size;
    if (found.length >= FILES.most || (found.length >= FILES.least && bytes > FILES.maxBytes)) break;
    found.unshift(file);
  }
  return found;
}

function follow(open: Map<string, LiveStream>, line: string): void {
  const read = relevantRecord.safeParse(parsed(line));
  // What was changed is for `culvert audit verify` to find.
  if (!read.success) return;
  const record = read.data;
  switch (record.type) {
    case 'stream-established':
      keep(open, record.stream);
      return;
    case 'streams-open':
      for (const stream of record.streams) keep(open, stream);
      return;
    case 'stream-ended':
      open.delete(record.stream.streamId);
      return;
    case 'log-closed':
      // A hub that closed its record had ended all its streams, even if the disk could not take each end.
      open.clear();
  }
}

function keep(open: Map<string, LiveStream>, stream: z.infer<typeof openStream>): void {
  if (open.size >= MAX_STREAMS) return;
  const nothing = { bytes: 0, messages: 0 };
  const { moduleId, traceParent, offeredAt, answeredAt, answeredBy, serviceAddress, deviceAddress } = stream;
  const optional = { moduleId, traceParent, offeredAt, answeredAt, answeredBy, serviceAddress, deviceAddress };
  open.set(stream.streamId, { ...stream, ...optional, fromService: nothing, fromDevice: nothing, countedBytes: 0 });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
