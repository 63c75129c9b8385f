import { describe, expect, it } from 'vitest';
import type { SessionConnection } from '../src/core/index.ts';
import { Pair, type Program } from './simulated-pair.ts';
import { World } from './virtual-world.ts';

// Connections that no service has had anything of go to another session, with what their programs have written.

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

/** A program of the service side that writes what a test tells it to. */
class Writer {
  connection: SessionConnection | undefined;
  drains = 0;
  abortion: string | undefined;

  data(bytes: Uint8Array): void {
    this.connection?.consumed(bytes.length);
  }
  ended(): void {
    // These devices send nothing.
  }
  drained(): void {
    this.drains++;
  }
  aborted(reason: string): void {
    this.abortion = reason;
  }
  moved(connection: SessionConnection): void {
    this.connection = connection;
  }
}

interface Taken {
  readonly service: string;
  text: string;
  hasEnded: boolean;
}

/** A session whose device records what it receives, also before it accepts. */
function start(world: World, accepts: boolean) {
  const taken: Taken[] = [];
  const pair = new Pair(world, {
    isEncrypted: true,
    wire: { delayMs: 50 },
    target: (connection: SessionConnection, program: Program) => {
      const one: Taken = { service: connection.service, text: '', hasEnded: false };
      taken.push(one);
      connection.events = {
        data: (bytes) => {
          one.text += new TextDecoder().decode(bytes);
          connection.consumed(bytes.length);
        },
        ended: () => {
          one.hasEnded = true;
        },
        drained: () => program.drained(),
        aborted: () => undefined,
      };
      if (accepts) connection.accept();
    },
  });
  pair.session.start();
  return { pair, taken };
}

function open(pair: Pair, service: string, writer: Writer): SessionConnection {
  const connection = pair.session.open(service, writer);
  if (connection === undefined) throw new Error('The session takes no connection.');
  writer.connection = connection;
  return connection;
}

describe('what a program writes before the device has answered', () => {
  it('arrives with OPEN after half a round trip, up to 8 KiB', () => {
    const world = new World(1);
    const { pair, taken } = start(world, true);
    world.run(1_000);
    const connection = open(pair, 'a', new Writer());
    connection.write(new Uint8Array(20_000));
    connection.end();
    world.run(world.now + 60);
    expect(taken.map(({ text: received }) => received.length)).toEqual([8_192]);
    world.run(world.now + 200);
    expect(taken.map(({ text: received, hasEnded }) => [received.length, hasEnded])).toEqual([[20_000, true]]);
  });

  it('goes to another session when OPEN has crossed the BYE of a device that stops, with what is written meanwhile', () => {
    const world = new World(1);
    const first = start(world, true);
    const second = start(world, true);
    world.run(1_000);
    const writer = new Writer();
    open(first.pair, 'a', writer).write(text('early '));
    first.pair.device.close('The agent is stopping.');
    world.run(world.now + 200);
    expect(first.pair.serviceEnd).toMatchObject({ reason: 'draining', byPeer: true });
    const [former] = first.pair.unopened;
    expect(former).toBe(writer.connection);
    writer.connection?.write(text('meanwhile'));
    writer.connection?.end();
    const next = second.pair.session.open('a', writer, former);
    writer.moved(next as SessionConnection);
    world.run(world.now + 200);
    expect(first.taken).toEqual([]);
    expect(second.taken).toEqual([{ service: 'a', text: 'early meanwhile', hasEnded: true }]);
    expect(next?.moves).toBe(1);
    expect(writer.abortion).toBeUndefined();
  });

  it('is not sent to a second session once a device has taken OPEN', () => {
    const world = new World(1);
    const { pair } = start(world, false);
    world.run(1_000);
    const writer = new Writer();
    open(pair, 'a', writer).write(text('once'));
    world.run(world.now + 60);
    pair.device.close('The agent is stopping.');
    world.run(world.now + 200);
    expect(pair.unopened).toEqual([]);
    expect(writer.abortion).toBe('going_away');
  });

  it('goes to another session when the device refuses because it drains, also with an end', () => {
    const world = new World(1);
    const first = start(world, true);
    const second = start(world, true);
    world.run(1_000);
    open(first.pair, 'keeps the session', new Writer());
    world.run(world.now + 200);
    first.pair.device.drain();
    first.pair.takesTurnedAway = true;
    const writer = new Writer();
    const connection = open(first.pair, 'a', writer);
    connection.write(text('request'));
    connection.end();
    world.run(world.now + 200);
    expect(first.pair.unopened).toEqual([connection]);
    writer.moved(second.pair.session.open('a', writer, connection) as SessionConnection);
    world.run(world.now + 200);
    expect(second.taken).toEqual([{ service: 'a', text: 'request', hasEnded: true }]);
    expect(writer.abortion).toBeUndefined();
  });

  it('lets a program that waits for room go on in the other session', () => {
    const world = new World(1);
    const first = start(world, true);
    const second = start(world, true);
    world.run(1_000);
    const writer = new Writer();
    expect(open(first.pair, 'a', writer).write(new Uint8Array(100_000))).toBe(false);
    first.pair.device.close('');
    world.run(world.now + 200);
    expect(writer.drains).toBe(0);
    writer.moved(second.pair.session.open('a', writer, first.pair.unopened[0]) as SessionConnection);
    world.run(world.now + 1_000);
    expect(second.taken.map(({ text: received }) => received.length)).toEqual([100_000]);
    expect(writer.drains).toBe(1);
  });

  it('is dropped when the program gives up before another session has taken it', () => {
    const world = new World(1);
    const { pair } = start(world, true);
    world.run(1_000);
    const writer = new Writer();
    open(pair, 'a', writer).write(text('early'));
    pair.device.close('');
    world.run(world.now + 200);
    expect(writer.connection?.isMoving).toBe(true);
    writer.connection?.abort('reset');
    expect(writer.connection?.isMoving).toBe(false);
    expect(writer.abortion).toBe('reset');
  });
});
