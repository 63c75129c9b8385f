import type { SecureVersion } from 'node:tls';
import { clientHello, inRecords } from '@culvert/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readServerName } from './client-hello.ts';

/** A ClientHello with one extension and correct lengths. */
function helloWith(extension: Buffer): Buffer {
  const extensions = Buffer.concat([lengthOf(extension, 2), extension]);
  const body = Buffer.concat([Buffer.alloc(34, 3), Buffer.from([0, 0, 2, 0x13, 1, 1, 0]), extensions]);
  const message = Buffer.concat([Buffer.from([1]), lengthOf(body, 3), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), lengthOf(message, 2), message]);
}

function serverName(name: Buffer, kind = 0): Buffer {
  const entry = Buffer.concat([Buffer.from([kind]), lengthOf(name, 2), name]);
  const list = Buffer.concat([lengthOf(entry, 2), entry]);
  return Buffer.concat([Buffer.from([0, 0]), lengthOf(list, 2), list]);
}

function lengthOf(bytes: Buffer, size: number): Buffer {
  const length = Buffer.alloc(size);
  length.writeUIntBE(bytes.length, 0, size);
  return length;
}

/** Parses repeatedly, each time with only as many bytes as the previous result asked for. */
function readStepwise(bytes: Buffer): ReturnType<typeof readServerName> {
  let reading = readServerName(bytes.subarray(0, 0));
  while ('atLeast' in reading) {
    if (reading.atLeast > bytes.length) return reading;
    reading = readServerName(bytes.subarray(0, reading.atLeast));
  }
  return reading;
}

describe('the server name of a ClientHello', () => {
  it.each<[SecureVersion, string | undefined, string | undefined]>([
    ['TLSv1.3', 'Devices.Hub.example', 'devices.hub.example'],
    ['TLSv1.2', 'devices.hub.example', 'devices.hub.example'],
    ['TLSv1.3', undefined, undefined],
    ['TLSv1.2', undefined, undefined],
  ])('of Node, %s, %s', async (version, name, expected) => {
    const hello = await clientHello({ maxVersion: version, ...(name === undefined ? {} : { servername: name }) });
    expect(readServerName(hello)).toEqual({ name: expected });
    expect(readServerName(Buffer.concat([hello, Buffer.from('more')]))).toEqual({ name: expected });
    expect(readStepwise(hello)).toEqual({ name: expected });
  });

  it('waits for the whole of it, and says how much it waits for', async () => {
    const hello = await clientHello({ servername: 'a.example' });
    for (let length = 0; length < hello.length; length++) {
      expect(readServerName(hello.subarray(0, length))).toEqual({ atLeast: length < 5 ? 5 : hello.length });
    }
  });

  it.each([40, 100, 400])('is found in records of %i bytes, up to sixteen of them', async (size) => {
    const hello = await clientHello({ servername: 'a.example' });
    const cut = inRecords(hello, size);
    const count = Math.ceil((hello.length - 5) / size);
    expect(readStepwise(cut)).toEqual({ name: count <= 16 ? 'a.example' : undefined });
  });

  it.each<[string, Buffer]>([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n')],
    ['SSL 2', Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 0])],
    ['another message', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ['nothing but empty records', Buffer.from([22, 3, 1, 0, 0].concat(...Array(16).fill([22, 3, 1, 0, 0])))],
    ['no extensions', Buffer.from([22, 3, 1, 0, 45, 1, 0, 0, 41, ...Buffer.alloc(34), 0, 0, 2, 0x13, 1, 1, 0])],
    ['an extension that is longer than the rest', helloWith(Buffer.from([0, 0, 0, 9, 0]))],
    ['a name of another kind', helloWith(serverName(Buffer.from('a.example'), 1))],
    ['an empty name', helloWith(serverName(Buffer.alloc(0)))],
    ['an empty list', helloWith(Buffer.from([0, 0, 0, 2, 0, 0]))],
  ])('is none in %s', (_what, bytes) => {
    expect(readStepwise(bytes)).toEqual({ name: undefined });
  });

  it.each<[string, Buffer]>([
    ['a record', Buffer.from([22, 3, 1, 0x40, 0])],
    ['a message', Buffer.from([22, 3, 1, 0, 4, 1, 0, 0x40, 0])],
  ])('is not waited for in %s of more than 16 KiB', (_what, bytes) => {
    expect(readStepwise(bytes)).toEqual({ tooLong: true });
  });

  it('is found behind other extensions', () => {
    const other = Buffer.from([0, 43, 0, 3, 2, 3, 4]);
    const extensions = Buffer.concat([other, serverName(Buffer.from('a.example'))]);
    expect(readServerName(helloWith(extensions))).toEqual({ name: 'a.example' });
  });

  it('whatever comes, ends or waits for a little more', () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isRecord) => {
        const input = Buffer.concat([isRecord ? Buffer.from([22, 3, 1, 0, 60, 1, 0, 0, 56]) : Buffer.alloc(0), bytes]);
        const reading = readServerName(input);
        if ('atLeast' in reading) {
          expect(reading.atLeast).toBeGreaterThan(input.length);
          expect(reading.atLeast).toBeLessThanOrEqual(16_384);
        } else if ('name' in reading) expect(reading.name ?? 'x').not.toBe('');
      }),
      { numRuns: 2_000 },
    ));
});
