import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { SocketTunnel } from './socket-tunnel.ts';
import { Random } from './virtual-world.ts';

let tunnel: SocketTunnel | undefined;
let target: Server | undefined;
afterEach(async () => {
  await tunnel?.stop();
  tunnel = undefined;
  target?.close();
  target = undefined;
});

async function listen(onConnection: (socket: Socket) => void): Promise<number> {
  target = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  target.listen(0, '127.0.0.1');
  await once(target, 'listening');
  return (target.address() as AddressInfo).port;
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  // Tests that expect an error wait for it; after it nothing is sent.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe('a session over sockets', () => {
  it('carries 8 MiB both ways through 200 random cuts, byte for byte', async () => {
    const random = new Random(20_261_129);
    let cuts = 0;
    const [up, down] = [randomBytes(8_388_608), randomBytes(8_388_608)];
    let received: Promise<Buffer> | undefined;
    const port = await listen((socket) => {
      received = readAll(socket);
      slowly(socket, down);
    });
    tunnel = await SocketTunnel.start(port);
    const running = tunnel;
    const socket = await open(tunnel.port);
    slowly(socket, up);
    const cutting = setInterval(() => {
      // A device that has never read the first HELLO does not know the session, which then ends.
      if (running.device.size === 0 || cuts >= 200 || !random.chance(0.7)) return;
      cuts++;
      running.cut();
    }, 4);
    const answer = await readAll(socket);
    clearInterval(cutting);
    expect(sha256(answer)).toBe(sha256(down));
    expect(sha256((await received) ?? Buffer.alloc(0))).toBe(sha256(up));
    expect(cuts).toBe(200);

    function slowly(to: Socket, bytes: Buffer, from = 0): void {
      const goesOn = cuts < 200 && from >= bytes.length - 65_536;
      if (goesOn) {
        setImmediate(() => slowly(to, bytes, from));
        return;
      }
      if (from >= bytes.length) {
        to.end();
        return;
      }
      const next = Math.min(from + 65_536, bytes.length);
      if (to.write(bytes.subarray(from, next))) setImmediate(() => slowly(to, bytes, next));
      else to.once('drain', () => slowly(to, bytes, next));
    }
  });

  it('half-closes both ways', async () => {
    const port = await listen((socket) => {
      void readAll(socket).then((bytes) => socket.end(`got ${bytes.length}`));
    });
    tunnel = await SocketTunnel.start(port);
    const socket = await open(tunnel.port);
    socket.end(Buffer.alloc(1_000_000));
    expect((await readAll(socket)).toString()).toBe('got 1000000');
  });

  it('delivers what a program sent right before its connection closed, although the session could not send it yet', async () => {
    let received: Promise<Buffer> | undefined;
    const port = await listen((socket) => {
      received = readAll(socket);
      socket.end();
    });
    tunnel = await SocketTunnel.start(port);
    const socket = await open(tunnel.port);
    socket.resume();
    await once(socket, 'end');
    tunnel.hold();
    const last = randomBytes(50_000);
    socket.end(last);
    await once(socket, 'close');
    expect(socket.errored).toBeNull();
    await expect.poll(() => tunnel?.openAtListener).toBe(0);
    tunnel.release();
    expect(sha256((await received) ?? Buffer.alloc(0))).toBe(sha256(last));
  });

  it('turns a refusal and a reset of the target into a reset', async () => {
    const port = await listen((socket) => socket.resetAndDestroy());
    tunnel = await SocketTunnel.start(port);
    const socket = await open(tunnel.port);
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
    target?.close();
    const second = await open(tunnel.port);
    const [refusal] = (await once(second, 'error')) as [NodeJS.ErrnoException];
    expect(refusal.code).toBe('ECONNRESET');
  });

  it('turns a reset of the program into a reset at the target', async () => {
    let ended: (code: string | undefined) => void = () => undefined;
    const reset = new Promise<string | undefined>((resolve) => {
      ended = resolve;
    });
    const port = await listen((socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => ended(error.code));
      socket.resume();
    });
    tunnel = await SocketTunnel.start(port);
    const socket = await open(tunnel.port);
    socket.write('x');
    await expect.poll(() => tunnel?.device.connections).toBe(1);
    socket.resetAndDestroy();
    expect(await reset).toBe('ECONNRESET');
  });

  it('lets one stalled program block nobody else', async () => {
    const stalled: Socket[] = [];
    const port = await listen((socket) => {
      socket.once('data', (first: Buffer) => {
        if (first.toString() === 'stall') {
          socket.pause();
          stalled.push(socket);
        } else {
          socket.write(first);
          socket.pipe(socket);
        }
      });
    });
    tunnel = await SocketTunnel.start(port);
    const bad = await open(tunnel.port);
    bad.write('stall');
    await expect.poll(() => stalled.length).toBe(1);
    bad.write(Buffer.alloc(20_000_000));
    const good = await open(tunnel.port);
    good.write('hello');
    good.end(Buffer.alloc(3_000_000, 1));
    expect((await readAll(good)).length).toBe(3_000_005);
    bad.destroy();
    for (const socket of stalled) socket.destroy();
  });
});
