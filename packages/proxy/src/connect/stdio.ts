import type { Readable, Writable } from 'node:stream';
import { type Clock, systemClock } from '@culvert/stream';
import { type RelayResult, relay } from '../local-relay.ts';
import { whenOpened } from '../session-relay.ts';
import type { OpenStreamFunction } from './connect-events.ts';

export interface ConnectStdioOptions {
  readonly openStream: OpenStreamFunction;
  readonly deviceId: string;
  readonly service: string;
  /** Read only when the stream may be written to: in a session before the device has answered. Earlier input waits in the pipe. */
  readonly stdin: Readable;
  readonly stdout: Writable;
  /** Called when the device has answered. */
  readonly onOpened?: () => void;
  /** Whether standard input is a terminal. A user would not end it after the device has ended, so it is ended together with the device. Default false. */
  readonly isTerminal?: boolean;
  /** Cancels the opening, or ends the open stream now. */
  readonly signal?: AbortSignal;
  /** Ends the local side cleanly (ssh sends its proxy command SIGHUP when it has finished). */
  readonly hangUp?: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Relays standard input and output over one stream, for ssh's ProxyCommand. Either direction may end first; the other continues as described at
 * {@link relay}. If the reader of `stdout` exits, the local side ends.
 * @returns a promise that resolves when both directions have ended, or the reader of `stdout` has exited
 * @throws CulvertError if the stream could not be opened, was aborted, or received no data in time after standard input had ended
 */
export async function connectStdio(options: ConnectStdioOptions): Promise<RelayResult> {
  const { stdin, stdout, signal, hangUp } = options;
  const stream = await options.openStream(options.deviceId, {
    name: options.service,
    early: true,
    ...(signal === undefined ? {} : { signal }),
  });
  whenOpened(stream, options.onOpened ?? (() => undefined));
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
