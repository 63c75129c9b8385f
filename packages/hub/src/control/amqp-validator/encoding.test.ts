import { amqpValue } from '@culvert/testkit';
import fc from 'fast-check';
import rhea from 'rhea';
import { describe, expect, it } from 'vitest';
import { EncodingWalk } from './encoding.ts';

const { array, described, list, map, string, symbol, uint, ulong } = amqpValue;

/** The end offset of the value at the beginning of `bytes`. */
const end = (bytes: Buffer): number => new EncodingWalk(bytes).value(0).end;

/** A message that rhea has encoded, in sections. */
const encoded = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double({ min: -1e15, max: 1e15, noNaN: true }),
    fc.boolean(),
    fc.constant(null),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  ),
  value: fc.oneof(
    { maxDepth: 4 },
    tie('leaf'),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.string({ maxLength: 10 }), tie('value'), { maxKeys: 5 }),
  ),
}));

describe('the walk over encoded values', () => {
  it('ends where what rhea has encoded ends, and nowhere before', () => {
    fc.assert(
      fc.property(encoded.value, fc.nat(), (body, cut) => {
        const bytes = rhea.message.encode({ body, application_properties: { a: 'b' } });
        const walk = new EncodingWalk(bytes);
        let at = 0;
        while (at < bytes.length) at = walk.value(at).end;
        expect(at).toBe(bytes.length);
        const shorter = bytes.subarray(0, cut % bytes.length);
        const again = new EncodingWalk(shorter);
        expect(() => {
          for (let next = 0; next < bytes.length; ) next = again.value(next).end;
        }).toThrow(/cut short|longer than/);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['an array of values without bytes', array(0x43, 3, Buffer.alloc(0))],
    ['an array of lists', array(0xc0, 2, Buffer.from([2, 1, 0x40, 1, 0]))],
    ['an array without elements', array(0xa3, 0, Buffer.alloc(0))],
    ['an array of described values', Buffer.from([0xe0, 6, 1, 0, 0x53, 0x24, 0x52, 7])],
    ['an empty list', Buffer.from([0x45])],
    ['a short map', Buffer.from([0xc1, 3, 2, 0x40, 0x41])],
    ['a value described by a symbol', Buffer.concat([Buffer.of(0), symbol('a:b:list'), list()])],
    ['fifteen lists in each other', nested(15)],
  ])('takes %s', (_name, bytes) => {
    expect(end(bytes)).toBe(bytes.length);
  });

  it.each([
    ['nothing', Buffer.alloc(0), 'cut short'],
    ['an unknown code', Buffer.from([0x99]), 'unknown format code'],
    ['four thousand million nulls in eleven bytes', array(0x40, 0xffff_ffff, Buffer.alloc(0)), 'Too many'],
    ['as many empty lists', array(0x45, 0x7fff_ffff, Buffer.alloc(0)), 'Too many'],
    [
      'a list of more elements than it has bytes',
      Buffer.from([0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40]),
      'cut short',
    ],
    ['a list longer than its elements', Buffer.from([0xc0, 3, 1, 0x40, 0x40]), 'size is not'],
    ['a list shorter than its elements', Buffer.from([0xc0, 2, 2, 0x40, 0x40]), 'size is not'],
    ['a list without room for its count', Buffer.from([0xd0, 0, 0, 0, 3, 0, 0, 0, 0]), 'room for its count'],
    ['a map with a key and no value', map(string('a')), 'key and no value'],
    ['a string of two gibibytes', Buffer.from([0xb1, 0x7f, 0xff, 0xff, 0xff, 0x41]), 'longer than'],
    ['seventeen lists in each other', nested(17), 'nested too deep'],
    ['descriptors in each other', Buffer.from([...new Array(40).fill(0), 0x43, 0x43]), 'nested too deep'],
    [
      'descriptors after each other',
      Buffer.concat([...new Array(40).fill(Buffer.from([0, 0x53, 1])), uint(1)]),
      'nested too deep',
    ],
    ['a value described by a list', Buffer.concat([Buffer.of(0), list(), list()]), 'proper descriptor'],
    ['a description of nothing', described(0x24, Buffer.alloc(0)), 'cut short'],
    ['an array of nothing', Buffer.from([0xe0, 1, 0]), 'cut short'],
    ['an array of an unknown code', array(0x46, 0, Buffer.alloc(0)), 'size is not'],
    ['an array longer than its elements', array(0x50, 1, Buffer.from([1, 2])), 'size is not'],
    ['too many values', list(...new Array(4_096).fill(ulong(1))), 'Too many'],
  ])('refuses %s', (_name, bytes, message) => {
    expect(() => end(bytes)).toThrow(message);
  });
});

function nested(depth: number): Buffer {
  return depth === 0 ? uint(1) : list(nested(depth - 1));
}
