import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { IdleDevice, type RawGrant, upgrade } from './support/handshake.ts';
import { HubProcess } from './support/hub-process.ts';
import { seconds } from './support/sas.ts';

const MEBIBYTE = 1024 * 1024;
const GIBIBYTE = 1024 * MEBIBYTE;
/** Maximum growth of the hub's memory, in bytes, while the frame passes: mostly read buffers that the garbage collector has not freed yet. */
const BOUND = GIBIBYTE / 8;
const MASK = Buffer.from([0x5a, 0x13, 0xc7, 0x08]);

const cleanup = new Cleanup();
let hub: HubProcess;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { mqtt: true });
});
afterAll(() => cleanup.run());

async function come(grant: RawGrant): Promise<TLSSocket> {
  const { socket } = await upgrade(hub, new URL(grant.url).pathname, { Authorization: `Bearer ${grant.token}` });
  return cleanup.defer(socket, () => socket.destroy());
}

/** Parses a server's WebSocket frames and compares their payload with repetitions of `pattern`. */
class PatternReader {
  /** Payload bytes received so far. `longest` is the payload length of the longest frame. */
  length = 0;
  longest = 0;
  /** Whether the final frame of the message has been received completely. */
  finished = false;
  readonly #pattern: Buffer;
  #header: Buffer = Buffer.alloc(0);
  #left = 0;
  #final = false;

  constructor(pattern: Buffer) {
    this.#pattern = pattern;
  }

  read(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) at += this.#payload(chunk, at);
      else this.#headerByte(chunk.subarray(at, ++at));
    }
  }

  #payload(chunk: Buffer, from: number): number {
    const at = this.length % this.#pattern.length;
    const size = Math.min(this.#left, chunk.length - from, this.#pattern.length - at);
    if (chunk.compare(this.#pattern, at, at + size, from, from + size) !== 0) {
      throw new Error(`wrong bytes at ${this.length}`);
    }
    this.length += size;
    this.#left -= size;
    this.finished = this.#left === 0 && this.#final;
    return size;
  }

  #headerByte(byte: Buffer): void {
    const header = Buffer.concat([this.#header, byte]);
    const short = header[1];
    const whole = short === 127 ? 10 : short === 126 ? 4 : 2;
    this.#header = header.length < whole ? header : Buffer.alloc(0);
    if (header.length < whole || short === undefined) return;
    this.#left = short === 127 ? Number(header.readBigUInt64BE(2)) : short === 126 ? header.readUInt16BE(2) : short;
    this.#final = (header[0] as number) >= 0x80;
    this.longest = Math.max(this.longest, this.#left);
  }
}

test('one frame of 1 GiB goes through a hub that grows by no more than its buffers', async () => {
  const { policy, key } = parseServiceConnectionString(hub.policy('service'));
  const authorization = () => signSasToken({ audience: hub.hostName, key, policy, expiry: seconds(3600) });
  const device = await IdleDevice.attach(cleanup, hub, 'big', authorization);
  const grants = await device.handshake();
  const [sender, receiver] = [await come(grants.device), await come(grants.service)];

  const pattern = randomBytes(MEBIBYTE);
  const masked = Buffer.from(pattern.map((byte, index) => byte ^ (MASK[index & 3] as number)));
  const header = Buffer.alloc(10);
  header.writeUInt16BE(0x82ff, 0);
  header.writeBigUInt64BE(BigInt(GIBIBYTE), 2);

  const reader = new PatternReader(pattern);
  const received = new Promise<void>((resolve, reject) => {
    receiver.once('close', () => reject(new Error(`the receiver was closed at ${reader.length}`)));
    receiver.on('data', (chunk: Buffer) => {
      try {
        reader.read(chunk);
      } catch (error) {
        reject(error);
        receiver.destroy();
        sender.destroy();
      }
      if (reader.finished) resolve();
    });
  });
  const before = hub.residentBytes();
  let highest = before;
  const sent = (async () => {
    sender.write(Buffer.concat([header, MASK]));
    for (let length = 0; length < GIBIBYTE; length += MEBIBYTE) {
      if (!sender.write(masked)) await once(sender, 'drain');
      highest = Math.max(highest, hub.residentBytes());
    }
  })();
  await Promise.all([sent, received]);
  expect([reader.length, reader.finished, reader.longest]).toEqual([GIBIBYTE, true, 65_536]);
  expect(highest - before).toBeLessThan(BOUND);
});
