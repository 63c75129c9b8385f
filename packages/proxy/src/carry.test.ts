import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Duplex, duplexPair, PassThrough, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { CulvertError } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { carry } from './carry.ts';
import { socketEnd } from './local-end.ts';

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

describe('carry', () => {
  it('delivers every byte both ways when the program ends first', async () => {
    const result = carry(socketEnd(local, 5_000), stream, options);
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
    const result = carry(socketEnd(local, 5_000), stream, options);
    const answer = Buffer.alloc(2_000_000, 2);
    peer.end(answer);
    peer.resume();
    expect((await buffer(program)).equals(answer)).toBe(true);
    program.end();
    expect(await result).toMatchObject({ endedBy: 'remote', bytesReceived: 2_000_000 });
  });

  it('still delivers the answer of a program that the device told the end', async () => {
    const result = carry(socketEnd(local, 5_000), stream, options);
    peer.end('sort this');
    expect((await buffer(program)).toString()).toBe('sort this');
    program.end('sorted');
    expect((await buffer(peer)).toString()).toBe('sorted');
    expect(await result).toEqual({ endedBy: 'remote', bytesSent: 6, bytesReceived: 9 });
  });

  it('does not wait for ever for a program that goes on sending after the device ended', async () => {
    const result = carry(socketEnd(local, 20), stream, options);
    peer.end('bye');
    peer.resume();
    expect((await buffer(program)).toString()).toBe('bye');
    expect(await result).toMatchObject({ endedBy: 'remote' });
  });

  it('counts a stream lost after the program ended as a clean end (close code 1011 of a C device)', async () => {
    const result = carry(socketEnd(local, 5_000), stream, options);
    const received = buffer(program);
    program.end('request');
    await buffer(peer);
    peer.write('answer');
    await once(program, 'readable');
    stream.destroy(new CulvertError('stream_lost', 'the device dropped its connection'));
    expect(await result).toMatchObject({ endedBy: 'local' });
    expect((await received).toString()).toBe('answer');
  });

  it('resets the program when the stream is lost before that', async () => {
    const result = carry(socketEnd(local, 5_000), stream, options);
    program.resume();
    const closed = once(program, 'error');
    stream.destroy(new CulvertError('stream_lost', 'torn'));
    await expect(result).rejects.toMatchObject({ code: 'stream_lost', message: 'torn' });
    expect(((await closed)[0] as NodeJS.ErrnoException).code).toBe('ECONNRESET');
  });

  it('keeps other errors even after the program ended', async () => {
    const result = carry(socketEnd(local, 5_000), stream, options);
    program.end();
    await buffer(peer);
    stream.destroy(new CulvertError('revoked'));
    await expect(result).rejects.toMatchObject({ code: 'revoked' });
  });

  it('tears the stream when the program is reset', async () => {
    const result = carry(socketEnd(local, 5_000), stream, options);
    program.write('x');
    await once(peer, 'readable');
    program.resetAndDestroy();
    await expect(result).rejects.toMatchObject({ code: 'stream_lost' });
    expect(stream.errored).toMatchObject({ code: 'stream_lost' });
  });

  it('fails at once when the program was gone before', async () => {
    local.destroy();
    await expect(carry(socketEnd(local, 5_000), stream, options)).rejects.toMatchObject({ code: 'stream_lost' });
  });

  it('ends both with the reason of the signal', async () => {
    const controller = new AbortController();
    const result = carry(socketEnd(local, 5_000), stream, { ...options, signal: controller.signal });
    program.resume();
    controller.abort(new CulvertError('draining', 'stopping'));
    await expect(result).rejects.toMatchObject({ code: 'draining', message: 'stopping' });
    await new Promise((resolve) => program.on('close', resolve));
  });

  it('takes a broken pipe as the end where it is one', async () => {
    const stdin = new PassThrough();
    const stdout = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' })),
    });
    const end = { readable: stdin, writable: stdout, reset: () => undefined, brokenPipeIsEnd: true, lingerMs: 0 };
    const result = carry(end, stream, options);
    peer.write('nobody reads this');
    await buffer(peer);
    peer.end();
    expect(await result).toMatchObject({ endedBy: 'local' });
  });
});
