import type { Readable, Writable } from 'node:stream';
import { type Clock, systemClock } from '@culvert/stream';
import { type CarryResult, carry } from '../carry.ts';
import type { OpenStreamFunction } from './events.ts';

export interface ConnectStdioOptions {
  readonly openStream: OpenStreamFunction;
  readonly deviceId: string;
  readonly service: string;
  /** Read only when the stream is open: what is typed before waits in the pipe. */
  readonly stdin: Readable;
  readonly stdout: Writable;
  /** Cancels the opening, and ends an open stream now. */
  readonly signal?: AbortSignal;
  /** Ends the local side politely (ssh sends its proxy command SIGHUP when it has finished). */
  readonly hangUp?: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Carries standard input and output over one stream, as ssh's ProxyCommand wants it. A reader of `stdout` that exits has ended
 * the local side, as the end of `stdin` has.
 * @returns when the local side ended first, also when the peer then dropped the connection, or the device ended it cleanly
 * @throws CulvertError when the stream could not be opened or was torn
 */
export async function connectStdio(options: ConnectStdioOptions): Promise<CarryResult> {
  const { stdin, stdout, signal, hangUp } = options;
  const stream = await options.openStream(options.deviceId, {
    name: options.service,
    ...(signal === undefined ? {} : { signal }),
  });
  const local = { readable: stdin, writable: stdout, reset: () => undefined, brokenPipeIsEnd: true, lingerMs: 0 };
  return carry(local, stream, {
    clock: options.clock ?? systemClock,
    ...(signal === undefined ? {} : { signal }),
    ...(hangUp === undefined ? {} : { hangUp }),
  });
}
