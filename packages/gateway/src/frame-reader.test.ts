import { CulvertError, LIMITS } from '@culvert/protocol';
import { rawFrame } from '@culvert/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BufferPool } from './buffer-pool.ts';
import { FrameReader } from './frame-reader.ts';

interface Unit {
  readonly fin: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

const INPUT_BYTES = 65_536;

/** With the frame memory and the fixed input, with it and 'data' events, and all in JavaScript. */
type How = 'fixed' | 'memory' | 'plain';

/** What a reader delivers for these chunks; checked to be whole units only, and to leave its input as it was. */
function read(how: How, chunks: readonly Buffer[]) {
  const memory = how === 'plain' ? undefined : BufferPool.ofThread;
  const units: Unit[] = [];
  const controls: { opcode: number; payload: Buffer }[] = [];
  const reader = new FrameReader(
    {
      emptyMessage: () => undefined,
      full: takeUnits,
      control: (opcode, payload) => {
        takeUnits();
        controls.push({ opcode, payload: Buffer.from(payload) });
      },
    },
    memory,
  );
  let error: unknown;
  function takeUnits(): void {
    const filled = reader.output.take();
    let input = filled?.bytes ?? Buffer.alloc(0);
    while (input.length > 0) {
      const unit = unmaskedFrame(input);
      if (unit === undefined) throw new Error('A unit left that is not whole.');
      units.push(unit.frame);
      input = input.subarray(unit.size);
    }
    if (filled?.pooled !== undefined) memory?.give(filled.pooled);
  }
  let held = 0;
  try {
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += INPUT_BYTES) {
        const piece = chunk.subarray(at, at + INPUT_BYTES);
        const input = how === 'fixed' ? place(piece) : Buffer.from(piece);
        const before = Buffer.from(input);
        reader.read(input, piece.length);
        expect(input.equals(before)).toBe(true);
      }
      takeUnits();
      held = Math.max(held, reader.output.end);
    }
  } catch (thrown) {
    error = thrown;
    takeUnits();
  }
  reader.output.settle();
  expect(memory?.taken ?? 0).toBe(0);
  return { units, controls, reader, error, held };
}

/** Puts bytes where the sockets are read into. */
function place(bytes: Buffer): Buffer {
  const input = BufferPool.ofThread?.input ?? Buffer.alloc(0);
  bytes.copy(input);
  return input;
}

function unmaskedFrame(input: Buffer): { frame: Unit; size: number } | undefined {
  if (input.length < 2) return undefined;
  let length = (input[1] as number) & 0x7f;
  expect((input[1] as number) & 0x80).toBe(0);
  let at = 2;
  if (length === 126) {
    length = input.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    length = Number(input.readBigUInt64BE(2));
    at = 10;
  }
  if (input.length < at + length) return undefined;
  const first = input[0] as number;
  const frame = { fin: first >= 0x80, opcode: first & 0x0f, payload: Buffer.from(input.subarray(at, at + length)) };
  return { frame, size: at + length };
}

/** `bytes` cut at the given places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, i) => bytes.subarray(i === 0 ? 0 : sorted[i - 1], end));
}

const PATTERN = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
const pattern = (length: number): Buffer => PATTERN.subarray(0, length);

describe.each<How>(['fixed', 'memory', 'plain'])('units, %s', (how) => {
  test.each([0, 1, 125, 126, 127, 2_048, 2_049, 65_535, 65_536])('a frame of %i bytes leaves as it came', (length) => {
    const { units, reader } = read(how, [Buffer.concat([rawFrame(2, pattern(length)), rawFrame(1, pattern(length))])]);
    expect(units).toEqual([
      { fin: true, opcode: 2, payload: pattern(length) },
      { fin: true, opcode: 1, payload: pattern(length) },
    ]);
    expect([reader.bytes, reader.messages]).toEqual([2 * length, 2]);
  });

  test('a longer frame leaves as fragments of 64 KiB, its opcode first and its FIN last', () => {
    const { units, reader } = read(how, [rawFrame(1, pattern(150_000))]);
    expect(units.map(({ fin, opcode, payload }) => [fin, opcode, payload.length])).toEqual([
      [false, 1, 65_536],
      [false, 0, 65_536],
      [true, 0, 18_928],
    ]);
    expect(Buffer.concat(units.map(({ payload }) => payload))).toEqual(pattern(150_000));
    expect(reader.messages).toBe(1);
  });

  test('a frame that is not whole is held back, and a long one cut anywhere holds no more than a fragment', () => {
    const frame = rawFrame(2, pattern(200_000));
    const chunks = cut(
      frame,
      Array.from({ length: 200 }, (_, i) => i * 997),
    );
    const { units, held } = read(how, chunks.slice(0, -1));
    expect(Buffer.concat(units.map(({ payload }) => payload)).length).toBe(196_608);
    expect(held).toBeLessThanOrEqual(LIMITS.frameBytes + 10);
  });

  test('whatever is sent, cut anywhere: the same frames, opcodes, FINs and bytes leave, whole', () => {
    const frame = fc.record({
      size: fc.oneof(fc.nat(300), fc.nat(5_000), fc.constantFrom(65_535, 65_536, 65_537, 140_000)),
      mask: fc.oneof(fc.constant(new Uint8Array(4)), fc.uint8Array({ minLength: 4, maxLength: 4 })),
      fragments: fc.integer({ min: 1, max: 3 }),
      ping: fc.boolean(),
    });
    const messages = fc.array(frame, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(messages, fc.array(fc.nat(), { maxLength: 60 }), fc.boolean(), (all, places, bytewise) => {
        const sent: Unit[] = [];
        const wire: Buffer[] = [];
        for (const { size, mask, fragments, ping } of all) {
          for (let i = 0; i < fragments; i++) {
            const unit = { fin: i === fragments - 1, opcode: i === 0 ? 2 : 0, payload: pattern(size + i) };
            sent.push(unit);
            wire.push(rawFrame(unit.opcode, unit.payload, { fin: unit.fin, mask: Buffer.from(mask) }));
            if (ping) wire.push(rawFrame(9, pattern(i * 60)));
          }
        }
        const bytes = Buffer.concat(wire);
        const tail = Array.from({ length: bytewise ? 100 : 0 }, (_, i) => i + 3);
        const { units, error, reader } = read(how, cut(bytes, [...places, ...tail]));
        expect(error).toBeUndefined();
        expect(reader.output.end).toBe(0);
        for (const unit of units) expect(unit.payload.length).toBeLessThanOrEqual(LIMITS.frameBytes);
        const expected = sent.flatMap(fragmented);
        expect(units.length).toBe(expected.length);
        expect(units.every((unit, i) => same(unit, expected[i]))).toBe(true);
        expect(reader.messages).toBe(all.length);
      }),
      { numRuns: 60, seed: 20261123 },
    );
  });
});

function fragmented({ fin, opcode, payload }: Unit): Unit[] {
  const units: Unit[] = [];
  for (let at = 0; at === 0 || at < payload.length; at += LIMITS.frameBytes) {
    const end = Math.min(payload.length, at + LIMITS.frameBytes);
    units.push({
      fin: fin && end === payload.length,
      opcode: at === 0 ? opcode : 0,
      payload: payload.subarray(at, end),
    });
  }
  return units;
}

function same(a: Unit, b: Unit | undefined): boolean {
  return b !== undefined && a.fin === b.fin && a.opcode === b.opcode && a.payload.equals(b.payload);
}

describe.each<How>(['fixed', 'memory', 'plain'])('what RFC 6455 does not allow, %s', (how) => {
  const begun = rawFrame(2, 'a', { fin: false });
  const longest = rawFrame(2, '', { declare: 65_536 });
  longest[2] = 0x80;
  test.each<[string, Buffer]>([
    ['an unmasked frame', rawFrame(2, 'a', { mask: null })],
    ['RSV1', rawFrame(2, 'a', { rsv: 0x40 })],
    ['RSV2', rawFrame(2, 'a', { rsv: 0x20 })],
    ['RSV3', rawFrame(2, 'a', { rsv: 0x10 })],
    ['opcode 3', rawFrame(3, 'a')],
    ['opcode 7', rawFrame(7, 'a')],
    ['opcode 11', rawFrame(11, 'a')],
    ['opcode 15', rawFrame(15, 'a')],
    ['a fragmented ping', rawFrame(9, 'a', { fin: false })],
    ['a ping of 126 bytes', rawFrame(9, pattern(126))],
    ['a continuation of nothing', rawFrame(0, 'a')],
    ['a continuation after a whole message', Buffer.concat([rawFrame(2, 'a'), rawFrame(0, 'a')])],
    ['a message inside a fragmented one', Buffer.concat([begun, rawFrame(2, 'a')])],
    ['a length with the top bit set', longest],
  ])('%s is refused, also byte by byte', (_, bytes) => {
    for (const chunks of [[bytes], cut(bytes, [...bytes.keys()])]) {
      const { error } = read(how, chunks);
      expect(error).toBeInstanceOf(CulvertError);
      expect(error).toMatchObject({ code: 'protocol_error' });
    }
  });

  test('what came before the offence is delivered', () => {
    const { units, error } = read(how, [Buffer.concat([rawFrame(2, 'before'), rawFrame(3, 'a')])]);
    expect(units).toEqual([{ fin: true, opcode: 2, payload: Buffer.from('before') }]);
    expect(error).toMatchObject({ code: 'protocol_error' });
  });
});
