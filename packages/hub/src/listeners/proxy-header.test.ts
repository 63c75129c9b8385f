import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_PROXY_HEADER_BYTES, readProxyHeader } from './proxy-header.ts';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

function version2(family: number, body: Buffer, { command = 1, version = 2, length = body.length } = {}): Buffer {
  const head = Buffer.from([(version << 4) | command, family, length >> 8, length & 0xff]);
  return Buffer.concat([SIGNATURE, head, body]);
}

const addresses = (source: number[], destination: number[], sourcePort: number): Buffer =>
  Buffer.from([...source, ...destination, sourcePort >> 8, sourcePort & 0xff, 0x01, 0xbb]);

/** Parses repeatedly, each time with only as many bytes as the previous result asked for. */
function readStepwise(bytes: Buffer): ReturnType<typeof readProxyHeader> {
  let reading = readProxyHeader(bytes.subarray(0, 0));
  while ('atLeast' in reading && reading.atLeast <= bytes.length) {
    reading = readProxyHeader(bytes.subarray(0, reading.atLeast));
  }
  return reading;
}

const V6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a];

describe('a PROXY header', () => {
  it.each<[string, Buffer, object]>([
    [
      'version 1, IPv4',
      Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n'),
      { address: '192.0.2.7', port: 4711 },
    ],
    [
      'version 1, IPv6',
      Buffer.from('PROXY TCP6 2001:db8::a ::1 65535 0\r\n'),
      { address: '2001:db8::a', port: 65_535 },
    ],
    [
      'version 2, IPv4',
      version2(0x11, addresses([192, 0, 2, 7], [198, 51, 100, 1], 4711)),
      { address: '192.0.2.7', port: 4711 },
    ],
    ['version 2, IPv6', version2(0x21, addresses(V6, V6, 1)), { address: '2001:db8::a', port: 1 }],
    [
      'version 2 with what it does not need',
      version2(0x11, Buffer.concat([addresses([192, 0, 2, 7], [0, 0, 0, 0], 2), Buffer.alloc(100, 4)])),
      { address: '192.0.2.7', port: 2 },
    ],
  ])('of %s tells the client, and where its bytes begin', (_what, header, client) => {
    const expected = { length: header.length, client };
    expect(readProxyHeader(header)).toEqual(expected);
    expect(readStepwise(header)).toEqual(expected);
    expect(readProxyHeader(Buffer.concat([header, Buffer.from([22, 3, 1])]))).toEqual(expected);
  });

  it.each<[string, Buffer]>([
    ['LOCAL', version2(0x00, Buffer.alloc(0), { command: 0 })],
    ['LOCAL with addresses', version2(0x11, addresses([1, 1, 1, 1], [1, 1, 1, 1], 1), { command: 0 })],
    ['an unspecified family', version2(0x00, Buffer.alloc(7))],
    ['UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n')],
    ['UNKNOWN with addresses', Buffer.from('PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n')],
  ])('of the balancer itself, %s, tells no client', (_what, header) => {
    expect(readStepwise(header)).toEqual({ length: header.length, client: undefined });
  });

  it.each<[string, Buffer]>([
    ['TLS', Buffer.from([22, 3, 1, 2, 0, 1])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
    ['PROX', Buffer.from('PROXI TCP4')],
    ['no addresses', Buffer.from('PROXY TCP4\r\n')],
    ['two spaces', Buffer.from('PROXY TCP4  192.0.2.7 198.51.100.1 4711 443\r\n')],
    ['another family', Buffer.from('PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n')],
    ['an address of the other family', Buffer.from('PROXY TCP4 ::1 ::1 4711 443\r\n')],
    ['a zone', Buffer.from('PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n')],
    ['a port that is none', Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n')],
    ['a port with zeros', Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 0001 443\r\n')],
    ['more than there is to say', Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 1 443 x\r\n')],
    ['a line without an end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`)],
    ['a line that ends too late', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`)],
    ['version 1 in binary', version2(0x11, Buffer.alloc(12), { version: 1 })],
    ['another command', version2(0x11, Buffer.alloc(12), { command: 2 })],
    ['UDP', version2(0x12, Buffer.alloc(12))],
    ['a Unix socket', version2(0x31, Buffer.alloc(216))],
    ['too few bytes for addresses', version2(0x21, Buffer.alloc(35))],
    ['more than 536 bytes', version2(0x11, Buffer.alloc(0), { length: 521 })],
  ])('is none in %s', (_what, bytes) => {
    expect(readStepwise(bytes)).toEqual({ problem: expect.any(String) });
  });

  it('is waited for byte by byte, never for more than 536', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(2), fc.nat(20), (bytes, start, cut) => {
        const begun = [Buffer.alloc(0), Buffer.from('PROXY '), SIGNATURE][start] ?? SIGNATURE;
        const input = Buffer.concat([begun.subarray(0, cut), bytes]);
        const reading = readProxyHeader(input);
        if ('atLeast' in reading) {
          expect(reading.atLeast).toBeGreaterThan(input.length);
          expect(reading.atLeast).toBeLessThanOrEqual(MAX_PROXY_HEADER_BYTES);
        } else if ('length' in reading) expect(reading.length).toBeLessThanOrEqual(input.length);
        // Bytes after the header do not change the result.
        if ('length' in reading) expect(readProxyHeader(input.subarray(0, reading.length))).toEqual(reading);
      }),
      { numRuns: 3_000 },
    );
  });

  it('says of every IPv6 address what everybody says', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const reading = readProxyHeader(version2(0x21, addresses([...bytes], V6, 1)));
        const address = 'client' in reading ? (reading.client?.address ?? '') : '';
        const text = readProxyHeader(Buffer.from(`PROXY TCP6 ${address} ::1 1 1\r\n`));
        expect(text).toMatchObject({ client: { address } });
      }),
    );
  });
});
