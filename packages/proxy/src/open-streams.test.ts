import { CulvertError } from '@culvert/protocol';
import { type Clock, systemClock } from '@culvert/stream';
import { describe, expect, it } from 'vitest';
import { OpenStreams } from './open-streams.ts';

describe('OpenStreams', () => {
  it('gives no more places than it has, and takes them back', () => {
    const streams = new OpenStreams(2);
    const first = streams.take();
    expect(streams.take()?.id).toBe(2);
    expect(streams.take()).toBeUndefined();
    first?.release();
    expect(streams.take()?.id).toBe(3);
    expect(streams.size).toBe(2);
  });

  it('waits for the last one without ending it', async () => {
    const streams = new OpenStreams(2);
    const slot = streams.take();
    const drained = streams.drain(60_000, systemClock, 'stopping');
    slot?.release();
    await drained;
    expect(slot?.signal.aborted).toBe(false);
  });

  it('ends those that do not end by themselves', async () => {
    const streams = new OpenStreams(2);
    const slot = streams.take();
    let fire: () => void = () => undefined;
    const clock: Clock = {
      now: () => 0,
      setTimer: (_ms, callback) => {
        fire = callback;
        return { cancel: () => undefined };
      },
    };
    slot?.signal.addEventListener('abort', () => slot.release());
    const drained = streams.drain(10_000, clock, 'stopping');
    fire();
    await drained;
    expect(slot?.signal.reason).toEqual(new CulvertError('draining', 'stopping'));
  });
});
