import type { KeyObject } from 'node:crypto';
import { type GatewayEvent, type GatewayLimits, GatewayThreads, type ThreadPair } from '@culvert/gateway';
import type { FakeClock } from './fake-clock.ts';

/** A message from the test to all threads of its gateway. */
export type ToTestThread =
  /** The thread advances its clock by this many milliseconds and confirms the step. With `only`, the other threads ignore the message. */
  | { readonly advance: number; readonly step: number; readonly only?: number }
  /** The thread with this id throws an error. */
  | { readonly crash: number };

/** The numbers of objects and bytes that one thread holds. */
export interface TestThreadReport {
  readonly waitingConnections: number;
  readonly streams: number;
  readonly bufferedBytes: number;
  readonly blocksTaken: number;
  readonly timers: number;
  /** Whether the thread's gateway has been closed and the thread is about to end. */
  readonly closed: boolean;
}

/** A message from a thread to the test. */
export type FromTestThread = { readonly thread: number } & (TestThreadReport | { readonly advanced: number });

export interface TestThreadsOptions {
  readonly threads: number;
  /** Whether all threads share one port; by default each thread has its own. */
  readonly together?: boolean;
  readonly pair: ThreadPair;
  readonly grantKey: KeyObject;
  readonly clock: FakeClock;
  readonly onEvent: (event: GatewayEvent) => void;
  readonly limits: Partial<GatewayLimits>;
  readonly plain: boolean;
}

/** A gateway with several threads whose clocks the test advances, and the reports of the threads. */
export interface TestThreads {
  readonly gateway: GatewayThreads;
  /** The last report of each thread, ended threads included, by thread id. A thread sends a report about once per millisecond. */
  readonly reports: ReadonlyMap<number, TestThreadReport>;
  /** Advances the clock of the test and those of all running threads. */
  advance(ms: number): Promise<void>;
  /** Makes a thread fail. @param thread the thread's id; threads are numbered from 0 in the order in which they are started */
  crash(thread: number): void;
  stop(): Promise<void>;
}

/** The name of the channel between a test and the threads of its gateway. */
export function testChannel(bootId: string): string {
  return `culvert-test-${bootId}`;
}

/** Starts a gateway with several threads on 127.0.0.1. */
export async function startThreads(options: TestThreadsOptions): Promise<TestThreads> {
  const { clock, together = false } = options;
  const gateway = await GatewayThreads.start({
    ...options,
    entry: new URL(import.meta.url.replace('test-threads', 'gateway-thread-entry')),
    apart: !together,
    listen: { host: '127.0.0.1', port: 0 },
    maxUnauthenticatedPerAddress: 1_000,
    maxUnauthenticated: 1_000,
    onTlsFailed: () => undefined,
  });
  const channel = new BroadcastChannel(testChannel(gateway.bootId));
  const reports = new Map<number, TestThreadReport>();
  const failed = new Set<number>();
  const waiting = new Map<number, (thread: number) => void>();
  let steps = 0;
  const post = (message: ToTestThread): void => channel.postMessage(message);
  /** Advances the clocks of these threads, and waits until each has confirmed it. `only`: the one thread that must act on the message. */
  const advanceThreads = async (ms: number, threads: ReadonlySet<number>, only?: number): Promise<void> => {
    const step = steps++;
    const left = new Set(threads);
    await new Promise<void>((resolve) => {
      waiting.set(step, (thread) => {
        left.delete(thread);
        if (left.size === 0) resolve();
      });
      post({ advance: ms, step, ...(only === undefined ? {} : { only }) });
      if (left.size === 0) resolve();
    });
    waiting.delete(step);
  };
  const living = (): Set<number> =>
    new Set([...reports].filter(([thread, { closed }]) => !closed && !failed.has(thread)).map(([thread]) => thread));
  let synchronised: () => void = () => undefined;
  const reported = new Set<number>();
  const started = new Promise<void>((resolve) => {
    synchronised = resolve;
  });
  channel.onmessage = (event) => {
    const message = (event as { readonly data: FromTestThread }).data;
    const { thread } = message;
    if ('advanced' in message) {
      waiting.get(message.advanced)?.(thread);
    } else if (reports.has(thread)) {
      reports.set(thread, message);
      // A closed thread no longer confirms steps, so stop waiting for it.
      if (message.closed) for (const moved of waiting.values()) moved(thread);
    } else if (!reported.has(thread)) {
      reported.add(thread);
      void advanceThreads(clock.now(), new Set([thread]), thread).then(() => {
        reports.set(thread, message);
        if (reports.size === options.threads) synchronised();
      });
    }
  };
  await started;
  return {
    gateway,
    reports,
    async advance(ms) {
      await advanceThreads(ms, living());
      await clock.advance(ms);
    },
    crash(thread) {
      failed.add(thread);
      post({ crash: thread });
    },
    async stop() {
      gateway.destroy();
      await gateway.close(0);
      channel.close();
    },
  };
}
