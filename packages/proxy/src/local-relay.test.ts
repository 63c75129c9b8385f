import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Duplex, duplexPair, PassThrough, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LocalEnd, socketEnd } from './local-end.ts';
import { relay } from './local-relay.ts';

let server: Server;
let program: Socket;
let local: Socket;
let stream: Duplex;
let peer: Duplex;

beforeEach(async () => {
  server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  program = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, allowHalfOpen: true });
  program.on('error', () => undefined);
  [local] = (await accepted) as [Socket];
  [stream, peer] = duplexPair();
  peer.on('error', () => undefined);
});

afterEach(async () => {
  program.destroy();
  local.destroy();
  peer.destroy();
  await new Promise((resolve) => server.close(resolve));
});

const options = { clock: systemClock };

describe('relay', () => {
  it('delivers every byte both ways when the program ends first', async () => {
    const result = relay(socketEnd(local), stream, options);
    const request = Buffer.alloc(3_000_000, 1);
    const answer = Buffer.alloc(2_000_000, 2);
    program.end(request);
    const received = buffer(program);
    expect((await buffer(peer)).equals(request)).toBe(true);
    peer.end(answer);
    expect((await received).equals(answer)).toBe(true);
    expect(await result).toEqual({ endedBy: 'local', bytesSent: 3_000_000, bytesReceived: 2_000_000 });
  });

  it('delivers every byte when the device ends first, and takes the program leave', async () => {
    const result = relay(socketEnd(local), stream, options);
    const answer = Buffer.alloc(2_000_000, 2);
    peer.end(answer);
    peer.resume();
    expect((await buffer(program)).equals(answer)).toBe(true);
    program.end();
    expect(await result).toMatchObject({ endedBy: 'remote', bytesReceived: 2_000_000 });
  });

  it('still delivers the answer of a program that the device told the end', async () => {
    const result = relay(socketEnd(local), stream, options);
    peer.end('sort this');
    expect((await buffer(program)).toString()).toBe('sort this');
    program.end('sorted');
    expect((await buffer(peer)).toString()).toBe('sorted');
    expect(await result).toEqual({ endedBy: 'remote', bytesSent: 6, bytesReceived: 9 });
  });

  it('lets the program go on after the device has ended', async () => {
    const result = relay(socketEnd(local), stream, options);
    peer.end('go on');
    expect((await buffer(program)).toString()).toBe('go on');
    const received = buffer(peer);
    program.write('one,');
    await new Promise((resolve) => setImmediate(resolve));
    program.end('two');
    expect((await received).toString()).toBe('one,two');
    expect(await result).toMatchObject({ endedBy: 'remote', bytesSent: 7 });
  });

  it.each(['stream_lost', 'revoked', 'half_close_timeout'] as const)(
    'resets the program when the stream fails with %s after the program had ended, whatever was answered',
    async (code) => {
      const result = relay(socketEnd(local), stream, options);
      const closed = once(program, 'error');
      program.end('request');
      await buffer(peer);
      peer.write('half an answer');
      await once(program, 'data');
      stream.destroy(new CulvertError(code, 'aborted'));
      await expect(result).rejects.toMatchObject({ code, message: 'aborted' });
      expect(((await closed)[0] as NodeJS.ErrnoException).code).toBe('ECONNRESET');
    },
  );

  it('ends the stream at once with a failure when the program goes away entirely while its answer comes', async () => {
    const result = relay(socketEnd(local), stream, options);
    program.end('request');
    await buffer(peer);
    program.resetAndDestroy();
    // The operating system reports the reset only when the next byte is written.
    const flow = setInterval(() => peer.write('answer'), 1);
    await expect(result).rejects.toMatchObject({ code: 'stream_lost', message: 'The local connection was lost.' });
    clearInterval(flow);
    expect(stream.errored).toMatchObject({ code: 'stream_lost' });
  });

  it('resets the program when the stream is lost before that', async () => {
    const result = relay(socketEnd(local), stream, options);
    program.resume();
    const closed = once(program, 'error');
    stream.destroy(new CulvertError('stream_lost', 'aborted'));
    await expect(result).rejects.toMatchObject({ code: 'stream_lost', message: 'aborted' });
    expect(((await closed)[0] as NodeJS.ErrnoException).code).toBe('ECONNRESET');
  });

  it('aborts the stream when the program is reset', async () => {
    const result = relay(socketEnd(local), stream, options);
    program.write('x');
    await once(peer, 'readable');
    program.resetAndDestroy();
    await expect(result).rejects.toMatchObject({ code: 'stream_lost' });
    expect(stream.errored).toMatchObject({ code: 'stream_lost' });
  });

  it('fails at once when the program was gone before', async () => {
    local.destroy();
    await expect(relay(socketEnd(local), stream, options)).rejects.toMatchObject({ code: 'stream_lost' });
  });

  it('ends both with the reason of the signal', async () => {
    const controller = new AbortController();
    const result = relay(socketEnd(local), stream, { ...options, signal: controller.signal });
    program.resume();
    controller.abort(new CulvertError('draining', 'stopping'));
    await expect(result).rejects.toMatchObject({ code: 'draining', message: 'stopping' });
    await new Promise((resolve) => program.on('close', resolve));
  });

  it('takes a broken pipe as the end where it is one, and then ends with the other pipe', async () => {
    const stdin = new PassThrough();
    const clock = new FakeClock();
    const result = relay(brokenPipe(stdin), stream, { clock });
    peer.write('nobody reads this');
    while (clock.timers === 0) await new Promise((resolve) => setImmediate(resolve));
    stdin.end('last words');
    expect((await buffer(peer)).toString()).toBe('last words');
    peer.end();
    expect(await result).toMatchObject({ endedBy: 'local' });
    expect(clock.timers).toBe(0);
  });

  it('cuts a stream that goes on five seconds after the reader of its pipe has gone, and never calls that an end', async () => {
    const clock = new FakeClock();
    const result = relay(brokenPipe(new PassThrough()), stream, { clock });
    peer.write('nobody reads this');
    while (clock.timers === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(LIMITS.lingerMs);
    expect(await result).toMatchObject({ endedBy: 'local' });
    expect(stream.errored).toMatchObject({ code: 'stream_lost' });
    expect(stream.writableEnded).toBe(false);
  });

  it('ends a terminal with the device, and goes on reading any other input', async () => {
    const terminal = { ...brokenPipe(new PassThrough()), writable: new PassThrough().resume(), endsWithStream: true };
    const result = relay(terminal, stream, options);
    peer.end();
    await buffer(peer);
    expect(await result).toMatchObject({ endedBy: 'remote' });
  });

  it('ends the sending of a terminal at once when the reader of its pipe has gone', async () => {
    const clock = new FakeClock();
    const result = relay({ ...brokenPipe(new PassThrough()), endsWithStream: true }, stream, { clock });
    peer.write('nobody reads this');
    await buffer(peer);
    peer.end();
    expect(await result).toMatchObject({ endedBy: 'local' });
    expect(stream.errored).toBeNull();
  });
});

/** A local end of standard input, and an output whose reader has exited. */
function brokenPipe(stdin: PassThrough): LocalEnd {
  const stdout = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' })),
  });
  return { readable: stdin, writable: stdout, reset: () => undefined, brokenPipeIsEnd: true, endsWithStream: false };
}
