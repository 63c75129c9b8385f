import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { CulvertError, formatErrorBody, formatSessionRequest, STREAM_HEADERS } from '@culvert/protocol';
import { FakeClock, ScriptedHub, type ScriptedHubOptions } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { ServiceClient } from './service-client.ts';

const STREAM_ID = 'ab'.repeat(16);

let hub: ScriptedHub | undefined;
let service: ServiceClient | undefined;

afterEach(async () => {
  service?.close();
  await hub?.stop();
});

async function start(options: ScriptedHubOptions): Promise<{ hub: ScriptedHub; service: ServiceClient }> {
  const started = await ScriptedHub.start(options);
  hub = started;
  service = ServiceClient.fromConnectionString(started.serviceConnectionString(), { outbound: { ca: started.ca } });
  return { hub: started, service };
}

function accept(response: ServerResponse, headers: Record<string, string> = {}): void {
  response.writeHead(200, {
    ...headers,
    [STREAM_HEADERS.isAccepted]: 'True',
    [STREAM_HEADERS.url]: hub?.streamUrl(STREAM_ID, 'service'),
    [STREAM_HEADERS.token]: 'the-grant',
  });
  response.end();
}

describe('openSessionStream', () => {
  const session = { id: 'cd'.repeat(16), lowest: 1, highest: 2, encrypted: true };

  async function open(headers: Record<string, string>) {
    let asked: IncomingMessage | undefined;
    const { service } = await start({
      onRequest: (request, response) => {
        asked = request;
        accept(response, headers);
      },
    });
    const { stream, ...granted } = await service.openSessionStream('d1', { name: 'ssh', session });
    stream.destroy();
    expect(asked?.headers[STREAM_HEADERS.session]).toBe(formatSessionRequest(session));
    return granted;
  }

  it('asks for the session, and tells what the device chose', async () => {
    const headers = { [STREAM_HEADERS.session]: 'version=2; encrypted=0', [STREAM_HEADERS.idleMs]: '60000' };
    expect(await open({ ...headers, [STREAM_HEADERS.streamId]: STREAM_ID })).toEqual({
      ...{ streamId: STREAM_ID, session: { version: 2, encrypted: false }, idleMs: 60_000 },
    });
  });

  it.each(['', 'x', 'version=3; encrypted=1', 'version=1'])('takes the answer %j for a raw stream', async (text) => {
    const headers: Record<string, string> = { [STREAM_HEADERS.idleMs]: '60000' };
    if (text !== '') headers[STREAM_HEADERS.session] = text;
    const noSession = { why: text === '' ? 'hub_too_old' : 'declined' };
    expect(await open(headers)).toEqual({ streamId: undefined, session: undefined, noSession, idleMs: undefined });
  });

  it('tells why the hub says that the stream is raw', async () => {
    const told = await open({ [STREAM_HEADERS.noSession]: 'why=versions; lowest=3; highest=4' });
    expect(told.noSession).toEqual({ why: 'versions', lowest: 3, highest: 4 });
  });

  it('refuses a session that is not valid before it asks', async () => {
    const { service } = await start({});
    const opening = service.openSessionStream('d1', { name: 'ssh', session: { ...session, id: 'x' } });
    await expect(opening).rejects.toMatchObject({ code: 'argument_invalid' });
  });
});

describe('openStream', () => {
  it('asks with whole seconds, a token and the names, and opens the stream granted', async () => {
    let asked: IncomingMessage | undefined;
    let came: IncomingMessage | undefined;
    const { service } = await start({
      onRequest: (request, response) => {
        asked = request;
        accept(response);
      },
      onStream: (socket, request) => {
        came = request;
        socket.on('message', (data) => socket.send(data));
      },
    });
    const stream = await service.openStream('d;1', { name: 'echo', connectTimeoutMs: 1_001, responseTimeoutMs: 2_500 });
    stream.write('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('hello');
    stream.end();
    await once(stream, 'end');
    expect(asked?.method).toBe('POST');
    expect(asked?.url).toMatch(/^\/twins\/d%3B1\/streams\/echo\?api-version=/);
    expect(asked?.headers[STREAM_HEADERS.connectTimeout]).toBe('2');
    expect(asked?.headers[STREAM_HEADERS.responseTimeout]).toBe('3');
    expect(asked?.headers.authorization).toMatch(
      /^SharedAccessSignature sr=127\.0\.0\.1%3A\d+&sig=.+&se=\d+&skn=service$/,
    );
    expect(came?.headers.authorization).toBe('Bearer the-grant');
  });

  it('sends nothing of a session, and believes none that it did not ask for', async () => {
    let asked: IncomingMessage | undefined;
    const { service } = await start({
      onRequest: (request, response) => {
        asked = request;
        accept(response, { [STREAM_HEADERS.session]: 'version=1; encrypted=1' });
      },
    });
    const stream = await service.openStream('d1', { name: 'echo', raw: true });
    expect(asked?.headers[STREAM_HEADERS.session]).toBeUndefined();
    stream.destroy();
  });

  it('keeps what the device sent before anybody listened', async () => {
    const { service } = await start({
      onRequest: (_request, response) => accept(response),
      onStream: (socket) => {
        socket.send('early');
        socket.close(1000);
      },
    });
    const stream = await service.openStream('d1', { name: 'echo' });
    const chunks: unknown[] = [];
    for await (const chunk of stream) chunks.push(String(chunk));
    expect(chunks.join('')).toBe('early');
    stream.end();
  });

  it('gives the WebSocket itself, paused, in the low-level form', async () => {
    const { service } = await start({
      onRequest: (_request, response) => accept(response),
      onStream: (socket) => socket.send('early'),
    });
    const socket = await service.openWebSocket('d1', { name: 'echo' });
    expect(socket.isPaused).toBe(true);
    await new Promise((resolve) => setImmediate(resolve));
    const message = once(socket, 'message');
    socket.resume();
    expect(String((await message)[0])).toBe('early');
    socket.terminate();
  });

  it('ends an aborted stream with an error', async () => {
    const { service } = await start({
      onRequest: (_request, response) => accept(response),
      onStream: (socket) => socket.terminate(),
    });
    const stream = await service.openStream('d1', { name: 'echo' });
    stream.resume();
    const [error] = await once(stream, 'error');
    expect(error).toMatchObject({ name: 'CulvertError', code: 'stream_lost' });
  });

  it('tells why the device rejected', async () => {
    const { service } = await start({
      onRequest: (_request, response) => {
        const reason = encodeURIComponent('no such service: äöü\u0007');
        response.writeHead(200, { [STREAM_HEADERS.isAccepted]: 'False', [STREAM_HEADERS.rejectReason]: reason }).end();
      },
    });
    await expect(service.openStream('d1', { name: 'echo' })).rejects.toMatchObject({
      code: 'rejected',
      message: 'The device rejected the stream: no such service: äöü\\u0007',
    });
  });

  it('knows a rejection without a reason', async () => {
    const { service } = await start({
      onRequest: (_request, response) => response.writeHead(200, { [STREAM_HEADERS.isAccepted]: 'False' }).end(),
    });
    await expect(service.openStream('d1', { name: 'echo' })).rejects.toMatchObject({
      code: 'rejected',
      message: 'The device rejected the stream.',
    });
  });

  it.each([
    ['device_offline', 404],
    ['device_not_found', 404],
    ['device_silent', 504],
    ['unauthorized', 401],
    ['too_many_requests', 429],
    ['draining', 503],
  ] as const)('says %s as the hub did', async (code, status) => {
    const { service } = await start({
      onRequest: (_request, response) => {
        const error = new CulvertError(code, 'As the hub puts it.');
        response.writeHead(status).end(formatErrorBody(error, 'tracking', new Date(0)));
      },
    });
    await expect(service.openStream('d1', { name: 'echo' })).rejects.toMatchObject({
      code,
      message: 'As the hub puts it.',
    });
  });

  it('does not take something else for a hub', async () => {
    const { service } = await start({ onRequest: (_request, response) => response.writeHead(200).end('Welcome!') });
    await expect(service.openStream('d1', { name: 'echo' })).rejects.toMatchObject({ code: 'protocol_error' });
  });

  it('refuses bad names and times before it asks', async () => {
    const { hub, service } = await start({});
    await expect(service.openStream('..', { name: 'echo' })).rejects.toMatchObject({ code: 'argument_invalid' });
    await expect(service.openStream('d1', { name: 'a/b' })).rejects.toMatchObject({ code: 'argument_invalid' });
    await expect(service.openStream('d1', { name: 'echo', connectTimeoutMs: -1 })).rejects.toMatchObject({
      code: 'argument_invalid',
    });
    expect(hub.connections).toBe(0);
  });
});

describe('cancelling', () => {
  it('before anything was sent', async () => {
    const { hub, service } = await start({});
    await expect(service.openStream('d1', { name: 'echo', signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'aborted',
    });
    expect(hub.connections).toBe(0);
  });

  it('while the device is asked withdraws the request', async () => {
    const cancel = new AbortController();
    let withdrawn: Promise<unknown> | undefined;
    const { service } = await start({
      onRequest: (_request, response) => {
        withdrawn = once(response, 'close');
        cancel.abort();
      },
    });
    await expect(service.openStream('d1', { name: 'echo', signal: cancel.signal })).rejects.toMatchObject({
      code: 'aborted',
    });
    await withdrawn;
  });

  it('while the stream is dialled, with the reason given', async () => {
    const cancel = new AbortController();
    const reason = new CulvertError('handshake_timeout', 'Enough.');
    const { hub, service } = await start({
      onRequest: (_request, response) => accept(response),
      onStreamHeld: () => cancel.abort(reason),
    });
    await expect(service.openStream('d1', { name: 'echo', signal: cancel.signal })).rejects.toBe(reason);
    service.close();
    await expect.poll(() => hub.connections).toBe(0);
  });
});

describe('the gateway of a stream', () => {
  const granted = (url: string) => (_request: IncomingMessage, response: ServerResponse) => {
    const { isAccepted, token } = STREAM_HEADERS;
    response.writeHead(200, { [isAccepted]: 'True', [STREAM_HEADERS.url]: url, [token]: 'the-grant' }).end();
  };
  const PATH = `/bridges/${STREAM_ID}/service`;

  it('that is another host is refused, and nothing is dialled', async () => {
    let came = 0;
    const otherServer = createServer((socket) => {
      came++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => otherServer.listen(0, '127.0.0.2', resolve));
    const { port } = otherServer.address() as AddressInfo;
    const { service } = await start({ onRequest: granted(`wss://127.0.0.2:${port}${PATH}`) });
    await expect(service.openStream('d', { name: 'echo' })).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(/^The hub names 127\.0\.0\.2:\d+ as its gateway/),
    });
    expect(came).toBe(0);
    await new Promise((resolve) => otherServer.close(resolve));
  });

  it('may be a name in the certificate that the hub proved itself with, also on a resumed TLS session', async () => {
    const certificate = { names: ['localhost', 'gw.invalid'], addresses: ['127.0.0.1'] };
    const { service } = await start({ certificate, onRequest: granted(`wss://gw.invalid:1${PATH}`) });
    for (let round = 0; round < 2; round++) {
      const opened = service.openStream('d', { name: 'echo' });
      await expect(opened).rejects.toMatchObject({
        code: 'unreachable',
        message: expect.stringContaining('gw.invalid'),
      });
    }
  });
});

it('a hub that takes the connection and says nothing is given up as soon as by everybody else', async () => {
  const clock = new FakeClock();
  let took = (): void => undefined;
  const taken = new Promise<void>((resolve) => {
    took = resolve;
  });
  let connections = 0;
  // Accepts two connections: one for the request, and one to the gateway that is opened ahead.
  const silent = createServer((socket) => {
    socket.on('error', () => undefined).resume();
    if (++connections === 2) took();
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const text = `HostName=127.0.0.1:${port};SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0`;
  const waiting = ServiceClient.fromConnectionString(text, { clock, outbound: { proxy: false } });
  const opened = waiting.openStream('d', { name: 'echo' });
  const failed = expect(opened).rejects.toMatchObject({
    code: 'unreachable',
    message: `127.0.0.1:${port} did not answer within 10 s.`,
  });
  await taken;
  await clock.advance(10_000);
  await failed;
  waiting.close();
  await new Promise((resolve) => silent.close(resolve));
});
