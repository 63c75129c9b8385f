import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { CulvertError, type SessionAnswer, type SessionRequest } from '@culvert/protocol';
import { DeviceSessions, linkOverDuplex, nodeEnvironment, type SessionConnection } from '@culvert/session';
import { systemClock } from '@culvert/stream';
import { duplexPair } from '@culvert/testkit';
import { afterEach, expect, it, vi } from 'vitest';
import type { OpenedSessionStream } from '../stream-request.ts';
import { DeviceTrust, type DeviceTrustOptions } from './device-trust.ts';
import type { ServiceSessionEvent } from './session-event.ts';
import { SessionPool } from './session-pool.ts';

let device: DeviceSessions;
let connections: SessionConnection[];
let requests: string[];
let events: ServiceSessionEvent[];
/** What each request waits for. */
let gate: Promise<void>;
/** What the hub says of a session; undefined: the stream is raw. */
let answer: SessionAnswer | undefined;
/** Called with the service's end of each stream. */
let onStream: (stream: Duplex) => void;

afterEach(() => device.close(''));

function start(options: DeviceTrustOptions = {}): SessionPool {
  [answer, onStream] = [{ version: 1, encrypted: false }, () => undefined];
  [connections, requests, events, gate] = [[], [], [], Promise.resolve()];
  device = new DeviceSessions({
    environment: nodeEnvironment,
    deviceId: 'press-7',
    moduleId: '',
    opened: (connection) => connections.push(connection),
  });
  return new SessionPool({
    clock: systemClock,
    retentionSeconds: undefined,
    trust: new DeviceTrust('hub.example.com', systemClock, options),
    openRaw: () => Promise.reject(new CulvertError('internal')),
    openLink: (_deviceId, { session }) => openLink(session),
    report: async () => undefined,
    onEvent: (event) => events.push(event),
  });
}

async function openLink({ id }: SessionRequest): Promise<OpenedSessionStream> {
  requests.push(id);
  await gate;
  const [service, other] = duplexPair();
  const offer = { sessionId: Buffer.from(id, 'hex'), caller: 'policy:service', mayOpen: () => true };
  linkOverDuplex(other, new Uint8Array(0), (transport) => device.accept(transport, offer));
  other.on('error', () => undefined);
  onStream(service);
  return { stream: service, streamId: undefined, session: answer, noSession: undefined, idleMs: undefined };
}

/** Ends the device's session with the reason `draining`; connections that are not answered go to another one. */
function endSession(): void {
  for (const session of device.sessions) session.close({ reason: 'draining', text: '', byPeer: false });
}

it('many unanswered connections go to one new session', async () => {
  const pool = start();
  const opening = Array.from({ length: 20 }, () => pool.open('press-7', { name: 'echo' }));
  await vi.waitFor(() => expect(connections).toHaveLength(20));
  expect(requests).toHaveLength(1);
  endSession();
  await vi.waitFor(() => expect(connections).toHaveLength(40));
  for (const connection of connections.slice(20)) connection.accept();
  const streams = await Promise.all(opening);
  expect(requests).toHaveLength(2);
  expect(device.size).toBe(1);
  for (const stream of streams) stream.destroy();
});

it('a connection that was given up on the way to another session is not opened there', async () => {
  const pool = start();
  const abort = new AbortController();
  const opening = pool.open('press-7', { name: 'echo', signal: abort.signal });
  await vi.waitFor(() => expect(connections).toHaveLength(1));
  let open = (): void => undefined;
  gate = new Promise((resolve) => (open = resolve));
  endSession();
  await vi.waitFor(() => expect(requests).toHaveLength(2));
  abort.abort();
  await expect(opening).rejects.toThrow();
  open();
  await vi.waitFor(() => expect(device.size).toBe(1));
  const other = pool.open('press-7', { name: 'other' });
  await vi.waitFor(() => expect(connections.at(-1)?.service).toBe('other'));
  expect(connections.map(({ service }) => service)).toEqual(['echo', 'other']);
  connections.at(-1)?.accept();
  (await other).destroy();
});

it('a stream that fails while the file of pins is read costs nothing but itself', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-pool-'));
  try {
    const knownDevices = join(directory, 'known_devices');
    const pool = start({ knownDevices });
    writeFileSync(knownDevices, '');
    onStream = (stream) => process.nextTick(() => stream.destroy(new CulvertError('stream_lost')));
    const opening = pool.open('press-7', { name: 'echo' });
    await vi.waitFor(() => expect(requests).toHaveLength(2));
    onStream = () => undefined;
    await vi.waitFor(() => expect(connections).toHaveLength(1));
    connections[0]?.accept();
    (await opening).destroy();
    answer = undefined;
    onStream = (stream) => process.nextTick(() => stream.destroy(new CulvertError('stream_lost')));
    await expect(pool.open('press-8', { name: 'echo' })).rejects.toMatchObject({ code: 'stream_lost' });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it('a listener that throws when the link is lost does not stop the session from asking for another', async () => {
  const thrown: (() => void)[] = [];
  vi.stubGlobal('queueMicrotask', (callback: () => void) => thrown.push(callback));
  const pool = start();
  let link: Duplex | undefined;
  onStream = (stream) => (link = stream);
  const opening = pool.open('press-7', { name: 'echo' });
  await vi.waitFor(() => expect(connections).toHaveLength(1));
  connections[0]?.accept();
  const stream = await opening;
  stream.on('linkLost', () => {
    throw new Error('a mistake of the program');
  });
  const regained = new Promise((resolve) => stream.once('linkRegained', resolve));
  link?.destroy();
  await regained;
  vi.unstubAllGlobals();
  expect(thrown).toHaveLength(1);
  expect(thrown[0]).toThrow('a mistake of the program');
  stream.destroy();
});
