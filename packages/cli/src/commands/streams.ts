import { identityName, type SessionClaimsView, type StreamView } from '@culvert/protocol';
import type { FollowedStream, StreamFilter } from '@culvert/service';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { type OutputFormat, pairs, table, writeJson, writeOut } from '../standard-output.ts';

/** Flags of the `streams` commands. */
export type StreamsFlags = ConnectionFlags & { readonly output: OutputFormat };

/** Filters the streams that `list` shows. */
export interface StreamsFilter {
  readonly device?: string;
  readonly module?: string;
  readonly caller?: string;
}

const HEADINGS = ['STREAM', 'DEVICE', 'NAME', 'STATE', 'CALLER', 'SINCE', 'IN', 'OUT', 'SESSION'];

/** `culvert streams list`: the present streams; with `--follow` also each later event, one a line, until interrupted. */
export function listStreams(flags: StreamsFlags & StreamsFilter & { readonly follow?: boolean }): Promise<void> {
  const filter = { deviceId: flags.device, moduleId: flags.module, caller: flags.caller };
  return withClient(flags, 'monitor', async ({ streams }) => {
    if (flags.follow === true) return subscribeToStreams(streams.follow(filter), flags.output);
    const found: StreamView[] = [];
    for await (const stream of streams.list(filter satisfies StreamFilter)) found.push(stream);
    return flags.output === 'json' ? writeJson(found) : writeOut(table(HEADINGS, found.map(row)));
  });
}

/** `culvert streams show ID`. */
export function showStream(streamId: string, flags: StreamsFlags): Promise<void> {
  return withClient(flags, 'monitor', async ({ streams }) => {
    const stream = await streams.get(streamId);
    if (flags.output === 'json') return writeJson(stream);
    await writeOut(pairs(details(stream)));
    for (const claims of stream.claims ?? []) await writeOut(connectionsText(claims));
  });
}

/** `culvert streams close ID`: both sides receive the reason. */
export function closeStream(streamId: string, flags: ConnectionFlags & { readonly reason?: string }): Promise<void> {
  return withClient(flags, 'iothubowner', async ({ streams }) => {
    await streams.close(streamId, flags.reason);
    tell(`${streamId} was closed`);
  });
}

async function subscribeToStreams(notices: AsyncIterable<FollowedStream>, output: OutputFormat): Promise<void> {
  for await (const notice of notices) {
    if (output === 'json') await writeOut(`${JSON.stringify(notice)}\n`);
    else for (const line of sentences(notice)) await writeOut(`${line}\n`);
  }
}

/** An event as text, one line for each stream. */
function sentences(notice: FollowedStream): string[] {
  switch (notice.event) {
    case 'stream':
      return [line(notice.data, `${notice.data.state} for ${notice.data.caller}${inSession(notice.data)}`)];
    case 'ended':
      return [
        line(notice.data, `${notice.data.cause}: ${notice.data.detail} ${sizes(notice.data)}${inSession(notice.data)}`),
      ];
    case 'counters':
      return notice.data.map((counters) => `${counters.streamId}  ${sizes(counters)}`);
    case 'claims':
      return connectionsText(notice.data).trimEnd().split('\n');
    case 'ready':
      return [];
  }
}

/** What an end claims about the connections in its session, under a line that says so. */
function connectionsText({ sessionId, claimedBy, at, connections }: SessionClaimsView): string {
  const rows = connections.map((connection) => [
    `${connection.id}`,
    connection.service,
    isoSeconds(connection.opened),
    connection.closed === undefined ? 'open' : isoSeconds(connection.closed),
    `${connection.sent}`,
    `${connection.received}`,
    connection.reason ?? '',
  ]);
  const heading = `Connections of session ${sessionId}, as the ${claimedBy} claimed at ${at.slice(0, 19)}:`;
  return `${heading}\n${table(['ID', 'SERVICE', 'OPENED', 'CLOSED', 'SENT', 'RECEIVED', 'REASON'], rows)}`;
}

function isoSeconds(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19);
}

function line(stream: StreamView, text: string): string {
  return table([stream.streamId, identityName(identity(stream)), stream.streamName, text], []).trimEnd();
}

/** The beginning of the session's id, so that a line fits a terminal: it shows which streams belong together. `show` and JSON have all of it. */
function sessionMark({ sessionId, sessionVersion }: StreamView): string {
  return sessionId == null || sessionVersion == null ? '-' : sessionId.slice(0, 8);
}

/** Which session a stream carries, after it was agreed. */
function inSession({ sessionId, sessionVersion }: StreamView): string {
  return sessionId == null || sessionVersion == null ? '' : `, session ${sessionId}`;
}

function sizes({ fromService, fromDevice }: Pick<StreamView, 'fromService' | 'fromDevice'>): string {
  return `${fromService.bytes} bytes to the device, ${fromDevice.bytes} from it`;
}

function row(stream: StreamView): string[] {
  return [
    stream.streamId,
    identityName(identity(stream)),
    stream.streamName,
    stream.state,
    stream.caller,
    stream.requestedAt.slice(0, 19),
    `${stream.fromService.bytes}`,
    `${stream.fromDevice.bytes}`,
    sessionMark(stream),
  ];
}

function details(stream: StreamView): [string, string][] {
  const { fromService, fromDevice } = stream;
  return [
    ['Stream', stream.streamId],
    ['Name', stream.streamName],
    ['Device', identityName(identity(stream))],
    ['State', stream.state],
    ['Session', sessionText(stream)],
    ['Caller', `${stream.caller}, ${stream.callerAddress}`],
    ['Requested', stream.requestedAt],
    ['Offered', stream.offeredAt ?? '-'],
    ['Answered', stream.answeredAt === null ? '-' : `${stream.answeredAt}, by ${stream.protocol}`],
    ['Established', stream.establishedAt ?? '-'],
    ['Gateway', stream.gateway],
    ['Service at', stream.serviceAddress ?? '-'],
    ['Device at', stream.deviceAddress ?? '-'],
    ['To the device', `${fromService.bytes} bytes, ${fromService.messages} messages`],
    ['From the device', `${fromDevice.bytes} bytes, ${fromDevice.messages} messages`],
  ];
}

/** The session's id and what was agreed on it. */
function sessionText({ sessionId, sessionVersion, sessionEncrypted }: StreamView): string {
  if (sessionId == null) return '-';
  if (sessionVersion == null) return `${sessionId}, not agreed`;
  return `${sessionId}, version ${sessionVersion}, ${sessionEncrypted ? 'encrypted end to end' : 'not encrypted end to end'}`;
}

function identity({ deviceId, moduleId }: StreamView): { deviceId: string; moduleId: string | undefined } {
  return { deviceId, moduleId: moduleId ?? undefined };
}
