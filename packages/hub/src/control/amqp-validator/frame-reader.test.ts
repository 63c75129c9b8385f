import { amqpFrames, amqpHeader, amqpRawFrame } from '@culvert/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameReader } from './frame-reader.ts';

/** The frames that a reader returns for data that arrives in these pieces. */
function readAll(pieces: Buffer[]): Buffer[] {
  const reader = new FrameReader();
  const frames: Buffer[] = [];
  for (const piece of pieces) {
    reader.push(piece);
    for (let frame = reader.frame(); frame !== undefined; frame = reader.frame()) frames.push(Buffer.from(frame));
  }
  return frames;
}

describe('the frame reader', () => {
  it('gives every frame whole, however they were cut', () => {
    const content = fc.uint8Array({ maxLength: 3_000 });
    fc.assert(
      fc.property(
        fc.array(content, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 4_000 })),
        (contents, cuts) => {
          const frames = contents.map((each) => amqpRawFrame(each));
          const whole = Buffer.concat(frames);
          const pieces: Buffer[] = [];
          let at = 0;
          for (const cut of cuts) {
            if (at < whole.length) pieces.push(whole.subarray(at, at + cut));
            at += cut;
          }
          pieces.push(whole.subarray(Math.min(at, whole.length)));
          expect(readAll(pieces)).toEqual(frames);
        },
      ),
    );
  });

  it('gives a header and what follows it', () => {
    const reader = new FrameReader();
    reader.push(Buffer.concat([amqpHeader(0), amqpFrames.open()]));
    expect(reader.header()).toEqual(amqpHeader(0));
    expect(reader.frame()).toEqual(amqpFrames.open());
    expect(reader.frame()).toBeUndefined();
  });

  it.each(['G', 'AM!', 'AMQX'])('knows by the first bytes that %s is no header', (begun) => {
    const reader = new FrameReader();
    reader.push(Buffer.from(begun));
    expect(() => reader.header()).toThrow('No AMQP protocol header');
  });

  it.each([
    [7, 'protocol_error'],
    [0, 'protocol_error'],
    [16_385, 'too_large'],
    [0x7fff_ffff, 'too_large'],
    [0xffff_ffff, 'too_large'],
  ])('refuses a frame of %i bytes by its first four', (length, code) => {
    const reader = new FrameReader();
    const size = Buffer.alloc(4);
    size.writeUInt32BE(length);
    reader.push(size);
    expect(() => reader.frame()).toThrow(expect.objectContaining({ code }));
  });

  it('takes frames of 64 KiB from a peer who has proved who it is', () => {
    const reader = new FrameReader();
    reader.authenticated();
    const frame = Buffer.alloc(65_536);
    frame.writeUInt32BE(frame.length);
    reader.push(frame);
    expect(reader.frame()).toEqual(frame);
    reader.push(Buffer.from([0, 1, 0, 1]));
    expect(() => reader.frame()).toThrow(expect.objectContaining({ code: 'too_large' }));
  });
});
