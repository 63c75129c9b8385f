import type { Readable, Writable } from 'node:stream';
import { type Clock, systemClock } from '@culvert/stream';
import { type RelayResult, relay } from '../local-relay.ts';
import type { OpenStreamFunction } from './connect-events.ts';

export interface ConnectStdioOptions {
  readonly openStream: OpenStreamFunction;
  readonly deviceId: string;
  readonly service: string;
  /** Read only when the stream is open: what is typed before waits in the pipe. */
  readonly stdin: Readable;
  readonly stdout: Writable;
  /** Whether standard input is a terminal: nobody would end it after the device has ended, so it ends with the device. Default false. */
  readonly isTerminal?: boolean;
  /** Cancels the opening, and ends an open stream now. */
  readonly signal?: AbortSignal;
  /** Ends the local side cleanly (ssh sends its proxy command SIGHUP when it has finished). */
  readonly hangUp?: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Relays standard input and output over one stream, for ssh's ProxyCommand. Either may end first; the other goes on as described at {@link relay} has it.
 * A reader of `stdout` that exits ends the local side.
 * @returns when both directions have ended, or the reader of `stdout` has gone
 * @throws CulvertError when the stream could not be opened, was aborted, or sent no answer in time
 */
export async function connectStdio(options: ConnectStdioOptions): Promise<RelayResult> {
  const { stdin, stdout, signal, hangUp } = options;
  const stream = await options.openStream(options.deviceId, {
    name: options.service,
    ...(signal === undefined ? {} : { signal }),
  });
  const local = {
    readable: stdin,
    writable: stdout,
    reset: () => undefined,
    brokenPipeIsEnd: true,
    endsWithStream: options.isTerminal === true,
  };
  return relay(local, stream, {
    clock: options.clock ?? systemClock,
    ...(signal === undefined ? {} : { signal }),
    ...(hangUp === undefined ? {} : { hangUp }),
  });
}
