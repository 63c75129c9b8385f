import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import {
  Budget,
  ConnectionDuplex,
  DeviceSessions,
  type Link,
  type LinkTransport,
  nodeEnvironment,
  ServiceSession,
  type SessionConnection,
} from '@culvert/session';
import { afterEach, describe, expect, it } from 'vitest';
import { type Connect, startConnect } from './connect.ts';
import type { ConnectEvent, OpenStreamFunction } from './connect-events.ts';
import { connectStdio } from './stdio.ts';

// A session over a link of this process, on which nothing that the device sends arrives until a test lets it: what reaches the device before that has
// needed no round trip.

interface Received {
  readonly connection: SessionConnection;
  text: string;
  hasEnded: boolean;
  abortion: string | undefined;
}

class HeldSession {
  readonly received: Received[] = [];
  readonly session: ServiceSession;
  readonly #device: DeviceSessions;
  #isHeld = true;
  #held: Uint8Array[] = [];
  #serviceLink: Link | undefined;
  #changed: () => void = () => undefined;

  constructor() {
    this.#device = new DeviceSessions({
      environment: nodeEnvironment,
      deviceId: 'd',
      moduleId: '',
      opened: (connection) => this.#opened(connection),
    });
    this.session = new ServiceSession({
      environment: nodeEnvironment,
      budget: new Budget(0),
      deviceId: 'd',
      moduleId: '',
      dial: (session) => this.#dial(session),
      events: { closed: () => undefined },
    });
    this.session.start();
  }

  /** As `ServiceClient.openStream` with `early`. */
  readonly open: OpenStreamFunction = (_device, { name, early }) => {
    const duplex = new ConnectionDuplex();
    const connection = this.session.open(name, duplex);
    if (connection === undefined || early !== true) throw new Error('The session takes no connection.');
    duplex.start(connection);
    return Promise.resolve(duplex);
  };

  /** Passes on what the device has sent, and sends. */
  release(): void {
    this.#isHeld = false;
    for (const bytes of this.#held.splice(0)) this.#serviceLink?.receive(bytes);
  }

  /** Resolves when the device's end of the first connection is as `is` says. */
  async until(is: (received: Received) => boolean): Promise<Received> {
    for (;;) {
      const [first] = this.received;
      if (first !== undefined && is(first)) return first;
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }

  close(): void {
    this.session.close('The test is over.');
    this.#device.close('The test is over.');
  }

  #opened(connection: SessionConnection): void {
    const received: Received = { connection, text: '', hasEnded: false, abortion: undefined };
    const changed = (): void => this.#changed();
    this.received.push(received);
    connection.events = {
      data: (bytes) => {
        received.text += Buffer.from(bytes).toString();
        connection.consumed(bytes.length);
        changed();
      },
      ended: () => {
        received.hasEnded = true;
        changed();
      },
      drained: () => undefined,
      aborted: (reason) => {
        received.abortion = reason;
        changed();
      },
    };
    changed();
  }

  #dial(session: ServiceSession): void {
    const offer = { sessionId: session.id, caller: 'policy:service', mayOpen: () => true };
    const deviceLink: Link = this.#device.accept(
      transport((bytes) => {
        if (this.#isHeld) this.#held.push(bytes);
        else this.#serviceLink?.receive(bytes);
      }),
      offer,
    );
    this.#serviceLink = session.linkReady(transport((bytes) => deviceLink.receive(bytes)));
  }
}

/** Passes bytes on in a later turn of the event loop, as a network does. */
function transport(receive: (bytes: Uint8Array) => void): LinkTransport {
  return {
    binding: new Uint8Array(0),
    write: (parts, flushed) => {
      const bytes = Buffer.concat(parts);
      setImmediate(() => receive(bytes));
      setImmediate(flushed);
    },
    end: () => undefined,
    destroy: () => undefined,
  };
}

let held: HeldSession | undefined;
let running: Connect | undefined;
afterEach(async () => {
  held?.close();
  await running?.destroy(new CulvertError('aborted'));
});

async function start() {
  held = new HeldSession();
  const events: ConnectEvent[] = [];
  running = await startConnect({
    openStream: held.open,
    deviceId: 'd',
    services: [{ name: 'echo', port: 0 }],
    onEvent: (event) => events.push(event),
  });
  const program = connect({ host: '127.0.0.1', port: running.services[0]?.port ?? 0, allowHalfOpen: true });
  program.on('error', () => undefined);
  return { held, program, events, types: () => events.map(({ type }) => type) };
}

const closed = (socket: Socket): Promise<boolean> => new Promise((resolve) => socket.once('close', resolve));

describe('connect in a session', () => {
  it('sends the program’s bytes and its end before the device has said anything', async () => {
    const { held, program, events, types } = await start();
    program.end('GET /');
    const { connection } = await held.until(({ text, hasEnded }) => text === 'GET /' && hasEnded);
    expect(types()).toEqual(['listening']);
    connection.accept();
    connection.write(Buffer.from('200'));
    connection.end();
    held.release();
    expect(String((await once(program, 'data'))[0])).toBe('200');
    await closed(program);
    await expect.poll(types).toEqual(['listening', 'stream-opened', 'stream-ended']);
    expect(events[2]).toMatchObject({ bytesSent: 5, bytesReceived: 3, endedBy: 'local' });
  });

  it('resets a program that was refused after it had sent, and says why', async () => {
    const { held, program, events } = await start();
    program.write('GET /');
    const { connection } = await held.until(({ text }) => text === 'GET /');
    connection.refuse('not_offered', 'no such service here');
    held.release();
    expect(await closed(program)).toBe(true);
    expect(events.at(-1)).toMatchObject({
      type: 'stream-failed',
      error: { code: 'rejected', message: 'The device rejected the stream: no such service here' },
    });
  });

  it('passes on the reset of a program before the answer', async () => {
    const { held, program, events } = await start();
    program.write('GET /');
    await held.until(({ text }) => text === 'GET /');
    program.resetAndDestroy();
    expect(await held.until(({ abortion }) => abortion !== undefined)).toMatchObject({ abortion: 'reset' });
    expect(events.at(-1)).toMatchObject({
      type: 'stream-failed',
      error: { message: 'The local connection was lost.' },
    });
    expect(held.session.size).toBe(0);
  });

  it('ends connections that are not answered when it is stopped', async () => {
    const { held, program, events } = await start();
    program.write('GET /');
    await held.until(({ text }) => text === 'GET /');
    const reset = closed(program);
    await running?.destroy(new CulvertError('draining', 'The proxy stops.'));
    expect(await reset).toBe(true);
    expect(events.at(-1)).toMatchObject({ type: 'stream-failed', error: { code: 'draining' } });
    expect(await held.until(({ abortion }) => abortion !== undefined)).toMatchObject({ abortion: 'going_away' });
  });
});

describe('connect over standard input and output in a session', () => {
  function startStdio() {
    held = new HeldSession();
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    let isOpened = false;
    const onOpened = (): void => {
      isOpened = true;
    };
    const done = connectStdio({ openStream: held.open, deviceId: 'd', service: 'ssh', stdin, stdout, onOpened });
    return { held, stdin, stdout, done, isOpened: () => isOpened };
  }

  it('sends what is typed before the device has answered', async () => {
    const { held, stdin, stdout, done, isOpened } = startStdio();
    stdin.end('SSH-2.0');
    const { connection } = await held.until(({ text, hasEnded }) => text === 'SSH-2.0' && hasEnded);
    expect(isOpened()).toBe(false);
    connection.accept();
    connection.write(Buffer.from('bye'));
    connection.end();
    held.release();
    expect(String((await once(stdout, 'data'))[0])).toBe('bye');
    expect(await done).toMatchObject({ bytesSent: 7, bytesReceived: 3 });
    expect(isOpened()).toBe(true);
  });

  it('fails with the device’s reason when it is refused', async () => {
    const { held, stdin, done, isOpened } = startStdio();
    stdin.write('SSH-2.0');
    const { connection } = await held.until(({ text }) => text === 'SSH-2.0');
    const failed = expect(done).rejects.toMatchObject({ code: 'rejected' });
    connection.refuse('refused');
    held.release();
    await failed;
    expect(isOpened()).toBe(false);
  });
});
