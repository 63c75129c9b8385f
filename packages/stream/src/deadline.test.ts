import { getEventListeners } from 'node:events';
import { CulvertError } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { abortReason, deadline, delay, linkSignals } from './deadline.ts';

const late = (): CulvertError => new CulvertError('handshake_timeout');

describe('deadline', () => {
  it('aborts with its typed reason when its time has come', async () => {
    const clock = new FakeClock();
    const { signal } = deadline(clock, 60_000, late);
    await clock.advance(59_999);
    expect(signal.aborted).toBe(false);
    await clock.advance(1);
    expect(abortReason(signal).code).toBe('handshake_timeout');
  });

  it('leaves no timer behind when disposed, and never aborts then', async () => {
    const clock = new FakeClock();
    const limit = deadline(clock, 1_000, late);
    limit[Symbol.dispose]();
    expect(clock.timers).toBe(0);
    await clock.advance(5_000);
    expect(limit.signal.aborted).toBe(false);
  });
});

describe('linkSignals', () => {
  it('takes the first reason and lets go of all signals', () => {
    const one = new AbortController();
    const two = new AbortController();
    const { signal } = linkSignals([undefined, one.signal, two.signal]);
    two.abort(new CulvertError('withdrawn'));
    one.abort(new CulvertError('draining'));
    expect(abortReason(signal).code).toBe('withdrawn');
    expect(getEventListeners(one.signal, 'abort')).toHaveLength(0);
    expect(getEventListeners(two.signal, 'abort')).toHaveLength(0);
  });

  it('is aborted at once when one was, without listening to the others', () => {
    const one = new AbortController();
    const { signal } = linkSignals([one.signal, AbortSignal.abort(new CulvertError('revoked'))]);
    expect(abortReason(signal).code).toBe('revoked');
    expect(getEventListeners(one.signal, 'abort')).toHaveLength(0);
  });

  it('can be unlinked', () => {
    const one = new AbortController();
    const linked = linkSignals([one.signal]);
    linked.unlink();
    one.abort();
    expect(linked.signal.aborted).toBe(false);
    expect(getEventListeners(one.signal, 'abort')).toHaveLength(0);
  });
});

describe('abortReason', () => {
  it('turns a foreign reason into `aborted` and keeps it as the cause', () => {
    const error = abortReason(AbortSignal.abort());
    expect(error.code).toBe('aborted');
    expect(error.cause).toMatchObject({ name: 'AbortError' });
  });
});

describe('delay', () => {
  it('resolves in its time and removes its listener', async () => {
    const clock = new FakeClock();
    const { signal } = new AbortController();
    let over = false;
    const waiting = delay(clock, 500, signal).then(() => {
      over = true;
    });
    await clock.advance(499);
    expect(over).toBe(false);
    await clock.advance(1);
    await waiting;
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('rejects with the reason and leaves no timer', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const waiting = delay(clock, 500, controller.signal);
    controller.abort(new CulvertError('draining'));
    await expect(waiting).rejects.toMatchObject({ code: 'draining' });
    expect(clock.timers).toBe(0);
    await expect(delay(clock, 500, controller.signal)).rejects.toMatchObject({ code: 'draining' });
    expect(clock.timers).toBe(0);
  });
});
