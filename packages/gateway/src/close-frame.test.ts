import { expect, test } from 'vitest';
import { closeFrame, parseClose } from './close-frame.ts';

const payload = (code: number, reason: Buffer | string = ''): Buffer =>
  Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);

test('code and reason are read, and an empty close is the clean end', () => {
  expect(parseClose(payload(4406, 'no'))).toEqual({ code: 4406, reason: 'no' });
  expect(parseClose(Buffer.alloc(0))).toEqual({ code: 1000, reason: '' });
});

test.each([0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535])('the code %i is refused', (code) => {
  expect(() => parseClose(payload(code))).toThrow(expect.objectContaining({ code: 'protocol_error' }));
});

test.each([1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999])('the code %i is taken', (code) => {
  expect(parseClose(payload(code)).code).toBe(code);
});

test('one byte, and a reason that is not UTF-8, are refused', () => {
  expect(() => parseClose(Buffer.from([3]))).toThrow(expect.objectContaining({ code: 'protocol_error' }));
  expect(() => parseClose(payload(1000, Buffer.from([0xff])))).toThrow(
    expect.objectContaining({ code: 'protocol_error' }),
  );
});

test('a close frame carries at most 125 bytes', () => {
  const frame = closeFrame({ code: 1011, reason: 'é'.repeat(100) });
  expect([frame[0], frame[1], frame.length]).toEqual([0x88, 124, 126]);
});
