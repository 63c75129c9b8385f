import { stat } from 'node:fs/promises';
import { z } from 'zod';
import type { LiveStream } from '../stream-record.ts';
import { linesOf } from './lines.ts';
import { listSegments, type SegmentFile } from './segment-files.ts';

/**
 * How many of the newest files are read. At least two: each file lists the open streams at its beginning, but in the last file a crash may have cut
 * this list short. Up to sixteen while their total size is at most 8 MiB, for example after several starts in a row.
 */
const FILES = { least: 2, most: 16, maxBytes: 8_388_608 };

/** Maximum streams returned; a hub has at most 20,000 open streams by default. The limit bounds the time that the hub's start takes. */
const MAX_STREAMS = 100_000;

/** Matches lines with records that open or close streams, so that other lines need not be parsed. */
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
  sessionId: z.string().optional(),
  session: z.object({ version: z.number(), encrypted: z.boolean() }).optional(),
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
 * Returns the streams that were open when the hub died: the audit log records that they were established but not that they ended. Once a stream's end
 * is recorded, it is no longer returned. So if the hub dies again before it has recorded all ends, the next start finds the remaining streams.
 * @throws errors of the file system
 */
export async function findOpenStreams(directory: string): Promise<LiveStream[]> {
  const open = new Map<string, LiveStream>();
  for (const { path } of await newestFiles(await listSegments(directory))) {
    for await (const { text, complete } of linesOf(path)) {
      if (text === undefined || !complete || !RELEVANT.test(text)) continue;
      applyRecord(open, text);
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

function applyRecord(open: Map<string, LiveStream>, line: string): void {
  const read = relevantRecord.safeParse(parsed(line));
  // Skip a record that does not have the expected form: `culvert audit verify` reports tampered records.
  if (!read.success) return;
  const record = read.data;
  switch (record.type) {
    case 'stream-established':
      addStream(open, record.stream);
      return;
    case 'streams-open':
      for (const stream of record.streams) addStream(open, stream);
      return;
    case 'stream-ended':
      open.delete(record.stream.streamId);
      return;
    case 'log-closed':
      // A hub closes the audit log after all its streams have ended, even if a failing disk prevented some ends from being recorded.
      open.clear();
  }
}

function addStream(open: Map<string, LiveStream>, stream: z.infer<typeof openStream>): void {
  if (open.size >= MAX_STREAMS) return;
  const nothing = { bytes: 0, messages: 0 };
  const { moduleId, traceParent, offeredAt, answeredAt, answeredBy, serviceAddress, deviceAddress } = stream;
  const { sessionId, session } = stream;
  const optional = { moduleId, traceParent, offeredAt, answeredAt, answeredBy, serviceAddress, deviceAddress };
  open.set(stream.streamId, {
    ...stream,
    ...optional,
    sessionId,
    session,
    fromService: nothing,
    fromDevice: nothing,
    countedBytes: 0,
  });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
