import { type Duplex, duplexPair, PassThrough } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { CulvertError } from '@culvert/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../deferred.ts';
import type { OpenStreamFunction } from './connect-events.ts';
import { type ConnectStdioOptions, connectStdio } from './stdio.ts';

let stdin: PassThrough;
let stdout: PassThrough;
let near: Duplex;
let far: Duplex;

beforeEach(() => {
  stdin = new PassThrough();
  stdout = new PassThrough();
  [near, far] = duplexPair();
  far.on('error', () => undefined);
});

function stdio(openStream: OpenStreamFunction = () => Promise.resolve(near), more: Partial<ConnectStdioOptions> = {}) {
  return connectStdio({ openStream, deviceId: 'd', service: 'ssh', stdin, stdout, ...more });
}

describe('connectStdio', () => {
  it('relays what was typed before the stream was open', async () => {
    const opening = deferred<Duplex>();
    stdin.end('early');
    const done = stdio(() => opening.promise);
    opening.resolve(near);
    expect(await text(far)).toBe('early');
    far.end('answer');
    expect(await text(stdout)).toBe('answer');
    expect(await done).toMatchObject({ endedBy: 'local' });
  });

  it('is well when the device ends first, without waiting for a terminal', async () => {
    const done = stdio(undefined, { isTerminal: true });
    far.end('bye');
    far.resume();
    expect((await buffer(stdout)).toString()).toBe('bye');
    expect(await done).toMatchObject({ endedBy: 'remote' });
  });

  it('still sends what a pipe says after the device has ended, and ends its output before', async () => {
    const done = stdio();
    far.end('bye');
    expect((await buffer(stdout)).toString()).toBe('bye');
    stdin.end('late');
    expect(await text(far)).toBe('late');
    expect(await done).toMatchObject({ endedBy: 'remote', bytesSent: 4 });
  });

  it('fails when its own side had ended and the peer then drops the connection', async () => {
    const done = stdio();
    stdin.end();
    await buffer(far);
    near.destroy(new CulvertError('stream_lost'));
    stdout.resume();
    await expect(done).rejects.toMatchObject({ code: 'stream_lost' });
  });

  it('fails when the stream is aborted', async () => {
    const done = stdio();
    near.destroy(new CulvertError('stream_lost', 'the hub went away'));
    await expect(done).rejects.toMatchObject({ code: 'stream_lost', message: 'the hub went away' });
  });

  it('fails with the reason of a rejection', async () => {
    const rejected = stdio(() => Promise.reject(new CulvertError('rejected', 'no such service')));
    await expect(rejected).rejects.toMatchObject({ code: 'rejected' });
  });

  it('ends cleanly when hung up, and at once when aborted', async () => {
    const hangUp = new AbortController();
    const hungUp = stdio(undefined, { hangUp: hangUp.signal });
    hangUp.abort();
    await buffer(far);
    far.end();
    stdout.resume();
    expect(await hungUp).toMatchObject({ endedBy: 'local' });

    [near, far] = duplexPair();
    far.on('error', () => undefined);
    stdin = new PassThrough();
    stdout = new PassThrough();
    const abort = new AbortController();
    const aborted = stdio(undefined, { signal: abort.signal });
    abort.abort(new CulvertError('aborted', 'interrupted'));
    await expect(aborted).rejects.toMatchObject({ code: 'aborted', message: 'interrupted' });
  });
});
