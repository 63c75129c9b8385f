import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeFrame,
  encodeUint64,
  HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
  readUint32,
  readUint64,
  writeHeader,
  writeUint32,
} from '../src/core/frame.ts';
import { FrameReader, joinPieces } from '../src/core/frame-reader.ts';
import { encodeHello, type Hello, MAX_HELLO_BYTES, parseHello, withoutSecret } from '../src/core/hello.ts';

interface Frame {
  type: number;
  id: number;
  payload: Uint8Array;
}

const frame = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  id: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 3_000 })),
});

/** The bytes in chunks of the given lengths, in turn. */
function chunks(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = lengths[index % lengths.length] as number;
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}

function collect(frames: Frame[], onFrame?: (reader: FrameReader) => void): FrameReader {
  const reader: FrameReader = new FrameReader((type, id, length, pieces) => {
    frames.push({ type, id, payload: Uint8Array.from(joinPieces(length, pieces)) });
    onFrame?.(reader);
  });
  return reader;
}

const borders = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 8 });

describe('numbers', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.maxSafeNat(), (word, long) => {
        const bytes = new Uint8Array(4);
        writeUint32(bytes, 0, word);
        expect(readUint32(bytes, 0)).toBe(word);
        expect(readUint64(encodeUint64(long), 0)).toBe(long);
      }),
    );
  });

  it('are big-endian, and of 2^53 or more are beyond every offset', () => {
    expect([...encodeUint64(0x1020304050607)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(readUint64(new Uint8Array(8).fill(0xff), 0)).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });
});

describe('the reader of frames', () => {
  it('delivers what was encoded, at any borders of chunks', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), borders, (frames, lengths) => {
        const bytes = Buffer.concat(frames.map(({ type, id, payload }) => encodeFrame(type, id, payload)));
        const read: Frame[] = [];
        const reader = collect(read);
        for (const chunk of chunks(bytes, lengths)) expect(reader.push(chunk)).toBe(true);
        expect(read).toEqual(frames.map(({ type, id, payload }) => ({ type, id, payload: Uint8Array.from(payload) })));
      }),
    );
  });

  it('delivers no frame that is not whole', () => {
    fc.assert(
      fc.property(frame, fc.nat(), borders, ({ type, id, payload }, cut, lengths) => {
        const bytes = encodeFrame(type, id, payload);
        const read: Frame[] = [];
        const reader = collect(read);
        for (const chunk of chunks(bytes.subarray(0, cut % bytes.length), lengths)) reader.push(chunk);
        expect(read).toEqual([]);
      }),
    );
  });

  it('delivers nothing while it is held, and all of it in order afterwards', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 2, maxLength: 8 }), fc.nat(), (frames, at) => {
        const bytes = Buffer.concat(frames.map(({ type, id, payload }) => encodeFrame(type, id, payload)));
        const holdAfter = 1 + (at % frames.length);
        const read: Frame[] = [];
        const reader = collect(read, (self) => {
          if (read.length === holdAfter) self.hold();
        });
        reader.push(bytes);
        expect(read).toHaveLength(holdAfter);
        reader.release();
        expect(read.map(({ id }) => id)).toEqual(frames.map(({ id }) => id));
      }),
    );
  });

  it('delivers nothing after it was stopped, not even of the same chunk', () => {
    const read: Frame[] = [];
    const reader = collect(read, (self) => self.stop());
    reader.push(Buffer.concat([encodeFrame(4, 1), encodeFrame(4, 1)]));
    reader.push(encodeFrame(4, 1));
    expect(read).toHaveLength(1);
  });

  it('refuses a length above 65,528 when the header is there', () => {
    for (const [length, isGood] of [
      [MAX_PAYLOAD_BYTES, true],
      [MAX_PAYLOAD_BYTES + 1, false],
      [0xffffff, false],
    ] as const) {
      const header = new Uint8Array(HEADER_BYTES);
      writeHeader(header, 0, 4, length, 1);
      expect(new FrameReader(() => undefined).push(header)).toBe(isGood);
    }
  });

  it('keeps few views of chunks, however small they are', () => {
    const bytes = encodeFrame(4, 1, new Uint8Array(10_000).fill(7));
    let most = 0;
    const reader = new FrameReader((_type, _id, length, pieces) => {
      most = pieces.length;
      expect(joinPieces(length, pieces)).toEqual(new Uint8Array(10_000).fill(7));
    });
    for (const chunk of chunks(bytes, [1])) reader.push(chunk);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(64);
  });
});

describe('HELLO', () => {
  const text = fc.string({ maxLength: 60 }).filter((value) => new TextEncoder().encode(value).length < 128);
  const fixed = {
    lowest: fc.integer({ min: 0, max: 3 }),
    highest: fc.integer({ min: 3, max: 255 }),
    sessionId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    nonce: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    received: fc.maxSafeNat(),
    retentionSeconds: fc.integer({ min: 0, max: 0xffffffff }),
  };
  const first = fc.record({
    secret: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    deviceId: text,
    moduleId: text,
  });
  const hello: fc.Arbitrary<Hello> = fc.oneof(
    fc.record({ ...fixed, link: fc.integer({ min: 2, max: 0xffffffff }), first: fc.constant(undefined) }),
    fc.record({ ...fixed, link: fc.constant(1), first }),
  );

  it('is parsed as it was encoded, with a tail of later versions or without', () => {
    fc.assert(
      fc.property(hello, fc.uint8Array({ maxLength: 200 }), (value, tail) => {
        const payload = Buffer.concat([encodeHello(value).subarray(HEADER_BYTES), tail]);
        expect(parseHello(Uint8Array.from(payload), 'service')).toEqual(value);
      }),
    );
  });

  it('that is random or cut is malformed or parsed, and never throws', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: MAX_HELLO_BYTES + 10 }),
        fc.constantFrom('service', 'device'),
        (bytes, from) => {
          const parsed = parseHello(bytes, from as 'service' | 'device');
          if (parsed !== undefined) expect(parsed.lowest).toBeLessThanOrEqual(parsed.highest);
        },
      ),
    );
    fc.assert(
      fc.property(hello, fc.nat(), (value, at) => {
        const payload = encodeHello(value).subarray(HEADER_BYTES);
        expect(parseHello(payload.subarray(0, at % payload.length), 'service')).toBeUndefined();
      }),
    );
  });

  it('enters the proof without its secret', () => {
    fc.assert(
      fc.property(fc.record({ ...fixed, link: fc.constant(1), first }), (value) => {
        const bare = withoutSecret(encodeHello(value), true);
        expect(bare.length).toBe(encodeHello(value).length - 32);
        const other = { ...value, first: { ...value.first, secret: new Uint8Array(32) } };
        expect(withoutSecret(encodeHello(other), true)).toEqual(bare);
      }),
    );
  });
});
