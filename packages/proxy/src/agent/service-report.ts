import { Readable, Writable } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { LocalEnd } from '../local-end.ts';
import type { Target } from './agent-events.ts';
import { dialTarget } from './dial-target.ts';

/** The name of a stream that every agent itself answers, with a report of its services and of whether each accepts connections. */
export const SERVICES_SERVICE = 'culvert-services';

/** Maximum services that one report tests, so that one stream does not cause too many connections. */
const MAX_TRIED = 64;

/** Maximum connections that one report opens at the same time. */
const MAX_CONCURRENT = 8;

/** One service in a {@link ServiceReport}. */
export interface ServiceState {
  readonly name: string;
  readonly ok: boolean;
  /** Milliseconds until the service accepted the test connection; absent if it did not accept. The connection is closed at once. */
  readonly ms?: number;
  /** The reason why the service did not accept the connection. */
  readonly problem?: string;
}

/** The JSON document that an agent sends on a {@link SERVICES_SERVICE} stream before it ends the stream. */
export interface ServiceReport {
  readonly services: readonly ServiceState[];
  /** Number of services that were not tested because there are too many. */
  readonly untried: number;
}

/** Tests each service by connecting to it, without sending data. This reveals nothing new: a caller that may open this stream may open one to each service. */
export async function tryServices(
  services: ReadonlyMap<string, Target>,
  clock: Clock,
  signal: AbortSignal,
): Promise<ServiceReport> {
  const all = [...services];
  const tried = all.slice(0, MAX_TRIED);
  const states: ServiceState[] = [];
  for (let at = 0; at < tried.length; at += MAX_CONCURRENT) {
    const some = tried.slice(at, at + MAX_CONCURRENT);
    states.push(...(await Promise.all(some.map(([name, target]) => tryService(name, target, clock, signal)))));
  }
  return { services: states, untried: all.length - tried.length };
}

async function tryService(name: string, target: Target, clock: Clock, signal: AbortSignal): Promise<ServiceState> {
  const started = clock.now();
  try {
    const socket = await dialTarget(target, clock, signal);
    const ms = clock.now() - started;
    socket.on('error', () => undefined);
    // Discard data that the service sends first, such as a banner.
    socket.resume().end();
    socket.destroySoon();
    return { name, ok: true, ms };
  } catch (error) {
    return { name, ok: false, problem: CulvertError.from(error).message };
  }
}

/** Creates a local end that sends the report as soon as it is ready, then ends. It discards all data that it receives. */
export function serviceReportEnd(report: () => Promise<ServiceReport>): LocalEnd {
  let asked = false;
  const readable = new Readable({
    read() {
      if (asked) return;
      asked = true;
      report().then(
        (made) => {
          this.push(`${JSON.stringify(made)}\n`);
          this.push(null);
        },
        (error: Error) => this.destroy(error),
      );
    },
  });
  const writable = new Writable({ write: (_chunk, _encoding, done) => done() });
  return {
    readable,
    writable,
    reset: () => {
      readable.destroy();
      writable.destroy();
    },
    brokenPipeIsEnd: false,
    endsWithStream: false,
  };
}
