import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { encodePacket } from '@culvert/protocol/mqtt';
import type { Prng } from '../../../fuzz/prng.ts';

/** Generates bytes that a listener must reject. */
export type Malformed = (random: Prng) => Buffer;

/** Milliseconds after which a connection that neither side has ended counts as stuck: twice the time allowed for authentication. */
const STUCK_MS = 20_000;

const text = (value: string) => Buffer.from(value, 'latin1');

/** Overwrites some bytes, truncates or repeats: the result is mostly well-formed, so it passes the first checks. */
function damaged(random: Prng, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let count = random.integer(1, 6); count > 0; count--)
    copy[random.integer(0, copy.length - 1)] = random.integer(0, 255);
  if (random.chance(0.3)) return copy.subarray(0, random.integer(1, copy.length));
  return random.chance(0.1) ? Buffer.concat([copy, copy]) : copy;
}

/** REST requests: malformed HTTP, paths and bodies; some carry a valid credential, to reach the code behind authentication. */
export function restInputs(goodToken: string): Malformed {
  return (random) => {
    const path = random.pick([
      `/devices/${random.text(random.integer(0, 300), 'abcXYZ0189-:.+%_#*?!(),=@;$\'/\\<>{}|^`"~')}`,
      `/twins/${random.text(8)}/streams/${random.text(random.integer(0, 200), 'ab%/?&=#.~!')}`,
      `/devices/../${'../'.repeat(random.integer(1, 20))}etc/passwd`,
      `/policies/${encodeURIComponent(random.bytes(20).toString('latin1'))}`,
      `/${random.text(random.integer(1, 20_000))}`,
      '/devices?top=-1',
      '*',
    ]);
    const authorization = random.chance(0.5)
      ? goodToken
      : `SharedAccessSignature ${random.text(random.integer(0, 5_000), 'sr=&igek%2F09')}`;
    const body = random.pick([
      '{',
      `${'['.repeat(5_000)}`,
      '{"deviceId":1e999}',
      `{"__proto__":{"status":"enabled"},"status":"${random.text(40)}"}`,
      random.bytes(random.integer(0, 2_000)).toString('latin1'),
      'x'.repeat(70_000),
    ]);
    const length = random.pick([String(body.length), '-1', '1e9', '99999999999999999999', '']);
    const head = [
      `${random.pick(['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'BREW', random.text(30)])} ${path} HTTP/${random.pick(['1.1', '1.0', '9.9'])}`,
      `Host: ${random.pick(['127.0.0.1', '', random.text(300), '127.0.0.1\r\nHost: two'])}`,
      `Authorization: ${authorization}`,
      `iothub-streaming-connect-timeout-in-seconds: ${random.pick(['-1', 'NaN', '1e400', random.text(50)])}`,
      `Content-Type: ${random.pick(['application/json', 'application/json; charset=utf-7', 'text/plain', random.text(90)])}`,
      ...(random.chance(0.2) ? ['Transfer-Encoding: chunked'] : [`Content-Length: ${length}`]),
      'Connection: close',
    ];
    const request = text(`${head.join('\r\n')}\r\n\r\n${body}`);
    return random.chance(0.3) ? damaged(random, request) : request;
  };
}

/** MQTT: CONNECT packets with an invalid credential, damaged ones, other packets, and wrong lengths. */
export const mqttInputs: Malformed = (random) => {
  const version = random.pick([4, 5] as const);
  const connect = encodePacket(
    {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clean: true,
      keepalive: random.integer(0, 65_535),
      clientId: random.text(random.integer(0, 200)),
      username: `127.0.0.1/${random.text(10)}/?api-version=2020-09-30`,
      password: text(
        `SharedAccessSignature sr=127.0.0.1&sig=${random.text(44)}&se=${random.integer(0, 2_000_000_000)}`,
      ),
    },
    version,
  );
  const topic = text(random.text(20));
  return random.pick<() => Buffer>([
    () => connect,
    () => damaged(random, connect),
    () => damaged(random, connect),
    () => connect.subarray(0, random.integer(1, connect.length - 1)),
    () => Buffer.from([0x10, 0xff, 0xff, 0xff, random.integer(0, 255), ...random.bytes(20)]),
    () =>
      Buffer.concat([
        Buffer.from([random.integer(0, 255), random.integer(0, 127)]),
        random.bytes(random.integer(0, 400)),
      ]),
    () => Buffer.concat([Buffer.from([0x34, topic.length + 4, 0, topic.length]), topic, Buffer.from([0, 1])]),
    () => random.bytes(random.integer(1, 1_000)),
  ])();
};

/** WebSocket upgrades for a path, most of them malformed; some are followed by `after`, as if the upgrade had been accepted. */
export function upgradeInputs(path: (random: Prng) => string, after: Malformed): Malformed {
  return (random) => {
    const lines = [
      `GET ${path(random)} HTTP/1.1`,
      'Host: 127.0.0.1',
      `Upgrade: ${random.pick(['websocket', 'websocket', 'h2c', random.text(5)])}`,
      `Connection: ${random.pick(['Upgrade', 'Upgrade', 'close', random.text(5)])}`,
      `Sec-WebSocket-Key: ${random.pick(['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ==', random.text(30), ''])}`,
      `Sec-WebSocket-Version: ${random.pick(['13', '13', '8', '-1'])}`,
      `Sec-WebSocket-Protocol: ${random.pick(['mqtt', 'MQTT', 'culvert.stream.v1', random.text(200), ','])}`,
      `Authorization: Bearer ${random.pick([random.text(300), `${random.text(20)}.${random.text(200)}.${random.text(86)}`, ''])}`,
    ].filter(() => random.chance(0.95));
    const request = text(`${lines.join('\r\n')}\r\n\r\n`);
    const whole = random.chance(0.5) ? Buffer.concat([request, after(random)]) : request;
    return random.chance(0.2) ? damaged(random, whole) : whole;
  };
}

/** WebSocket frames that violate a rule, or whose payload violates one. */
export const frameInputs: Malformed = (random) => {
  const payload = random.chance(0.5) ? mqttInputs(random) : random.bytes(random.integer(0, 125));
  const masked = random.chance(0.8);
  const length = random.pick([payload.length & 127, 126, 127, random.integer(0, 127)]);
  const head = [random.integer(0, 255), (masked ? 0x80 : 0) | length, ...random.bytes(random.integer(0, 12))];
  return Buffer.concat([Buffer.from(head), payload]);
};

/** Inputs for a TLS port: other protocols, TLS records with wrong lengths, noise. */
export const tlsInputs: Malformed = (random) =>
  random.pick<() => Buffer>([
    () =>
      Buffer.concat([
        Buffer.from([0x16, 3, random.integer(0, 4), ...random.bytes(2)]),
        random.bytes(random.integer(0, 600)),
      ]),
    () => Buffer.from([0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3, ...random.bytes(200)]),
    () => Buffer.from([0x15, 3, 3, 0, 2, random.integer(0, 255), random.integer(0, 255)]),
    () => Buffer.from([0x80, 0x2e, 1, 3, 1, ...random.bytes(46)]),
  ])();

/** Inputs for a TLS port that do not resemble TLS. */
export const tcpInputs: Malformed = (random) =>
  random.pick<() => Buffer>([
    () => text('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'),
    () => text('SSH-2.0-OpenSSH_9.2\r\n'),
    () => mqttInputs(random),
    () => random.bytes(random.integer(0, 3_000)),
    () => Buffer.alloc(0),
  ])();

/** Opens a connection to a listener; resolves with the socket once bytes may be sent. */
export type ListenerName = () => Promise<Socket>;

/** Plain TCP. */
export function tcpListener(port: number): ListenerName {
  return async () => {
    const socket = connectTcp(port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  };
}

/** TLS with one resumed session, so that ten thousand handshakes take seconds instead of minutes. */
export function tlsListener(port: number, ca: string, alpn?: string): ListenerName {
  let session: Buffer | undefined;
  return async () => {
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      ca,
      ...(session && { session }),
      ...(alpn && { ALPNProtocols: [alpn] }),
    });
    socket.on('session', (ticket: Buffer) => {
      session ??= ticket;
    });
    await once(socket, 'secureConnect');
    return socket;
  };
}

/** Sends one input, ends our direction, and waits until the hub has ended its own. @throws Error when the hub does not end it */
export async function send(listener: ListenerName, input: Buffer): Promise<void> {
  const socket = await listener();
  const stuck = setTimeout(() => socket.destroy(new Error('the hub did not end the connection')), STUCK_MS);
  let failure: Error | undefined;
  // A reset or a broken pipe is an accepted form of rejection; a stuck connection is not.
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === undefined) failure = error;
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume().end(input);
  await closed;
  clearTimeout(stuck);
  if (failure !== undefined) throw failure;
}

/** Sends `count` inputs to a listener, `parallel` at a time: an address may have 512 unauthenticated connections. */
export async function storm(
  listener: ListenerName,
  malformed: Malformed,
  random: Prng,
  count: number,
  parallel = 32,
): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left-- > 0) await send(listener, malformed(random));
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}
