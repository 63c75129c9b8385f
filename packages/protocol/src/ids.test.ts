import {
  isStreamId,
  newStreamId,
  parseAuthorityName,
  parseDeviceId,
  parseStreamName,
  peerAddress,
  printable,
} from '@culvert/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const DEVICE_ID_CHARACTERS = "ABCxyz019-:.+%_#*?!(),=@;$'";

describe('device ids', () => {
  it.each(['d', "-$(;'x", '...', 'x'.repeat(128), 'a;b=c', 'press-7', '#?%+'])('may be %s', (id) => {
    expect(parseDeviceId(id)).toBe(id);
  });

  it.each([
    '',
    '.',
    '..',
    'a b',
    'a/b',
    'ä',
    'a\n',
    'a"',
    'a\\',
    'x'.repeat(129),
    'x;SharedAccessKey=y',
    'x;hostname=',
  ])('may not be %j', (id) => {
    expect(() => parseDeviceId(id)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });

  it('survive a URL path and a connection string, whatever they are made of', () => {
    const id = fc.string({ unit: fc.constantFrom(...DEVICE_ID_CHARACTERS), minLength: 1, maxLength: 128 });
    fc.assert(
      fc.property(id, (text) => {
        fc.pre(text !== '.' && text !== '..' && !/;x509=/i.test(text));
        const url = new URL(`https://hub.example/devices/${encodeURIComponent(parseDeviceId(text))}`);
        expect(decodeURIComponent(url.pathname)).toBe(`/devices/${text}`);
      }),
    );
  });
});

describe('names of certificate authorities', () => {
  it('are one segment of a path', () => {
    for (const name of ['a', 'Plant-7_2026.pem', '...', 'x'.repeat(64)]) expect(parseAuthorityName(name)).toBe(name);
    for (const name of ['', '.', '..', 'a b', 'a/b', 'ä', 'x'.repeat(65)]) {
      expect(() => parseAuthorityName(name)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
    }
  });
});

describe('stream names', () => {
  it('are safe in an MQTT topic and a URL path as they stand', () => {
    for (let code = 0x20; code < 0x7f; code++) {
      const name = `a${String.fromCharCode(code)}b`;
      const isSafe = !/[\s"#%&+/<=>?[\\\]^`{|}]/.test(name);
      const parse = () => parseStreamName(name);
      if (!isSafe) expect(parse, name).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
      else expect(new URL(`https://hub.example/${parse()}`).pathname, name).toBe(`/${name}`);
    }
  });

  it.each(['', '.', '..', 'x'.repeat(129), 'ü'])('may not be %j', (name) => {
    expect(() => parseStreamName(name)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });
});

describe('stream ids', () => {
  it('are 128 random bits', () => {
    const ids = Array.from({ length: 1000 }, newStreamId);
    expect(ids.every(isStreamId)).toBe(true);
    expect(new Set(ids).size).toBe(1000);
    expect(isStreamId('0'.repeat(31)) || isStreamId('G'.repeat(32)) || isStreamId(`${'0'.repeat(32)}\n`)).toBe(false);
  });
});

describe('text from outside', () => {
  it('can neither break a line nor steer a terminal', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u);
      }),
    );
    expect(printable('a\u001b[31mb\r\nc')).toBe('a\\u001b[31mb\\u000d\\u000ac');
    expect(printable('x'.repeat(300))).toBe(`${'x'.repeat(256)}…`);
  });
});

describe('a peer’s address', () => {
  it.each([
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['::ffff:0:1', '::ffff:0:1'],
    [undefined, 'unknown'],
  ])('%s is shown as %s', (remoteAddress, shown) => {
    expect(peerAddress({ remoteAddress })).toBe(shown);
  });
});
