import type { KeyObject } from 'node:crypto';
import { type GatewayEvent, type GatewayLimits, GatewayThreads, type ThreadPair } from '@culvert/gateway';
import type { FakeClock } from './fake-clock.ts';

/** What the test says to all threads of its gateway. */
export type ToTestThread =
  /** Advance the clock by this many milliseconds and confirm it; with `only`, in that thread alone. */
  | { readonly advance: number; readonly step: number; readonly only?: number }
  /** Fail, if this is your id. */
  | { readonly crash: number };

/** What is kept in one thread. */
export interface TestThreadReport {
  readonly waitingConnections: number;
  readonly streams: number;
  readonly bufferedBytes: number;
  readonly blocksTaken: number;
  readonly timers: number;
  /** It was closed, and ends. */
  readonly closed: boolean;
}

/** What a thread says to the test. */
export type FromTestThread = { readonly thread: number } & (TestThreadReport | { readonly advanced: number });

export interface TestThreadsOptions {
  readonly threads: number;
  /** All on one port; default each on its own. */
  readonly together?: boolean;
  readonly pair: ThreadPair;
  readonly grantKey: KeyObject;
  readonly clock: FakeClock;
  readonly onEvent: (event: GatewayEvent) => void;
  readonly limits: Partial<GatewayLimits>;
  readonly plain: boolean;
}

/** A gateway of several threads whose clocks the test moves, and what is kept in them. */
export interface TestThreads {
  readonly gateway: GatewayThreads;
  /** Of every thread that ever was, the last one it told, by id. Threads tell it about once a millisecond. */
  readonly reports: ReadonlyMap<number, TestThreadReport>;
  /** Moves the time in all threads that live. */
  advance(ms: number): Promise<void>;
  /** Makes a thread fail, by its id: they are counted from 0 as they are started. */
  crash(thread: number): void;
  stop(): Promise<void>;
}

/** The name of the channel between a test and the threads of its gateway. */
export function testChannel(bootId: string): string {
  return `culvert-test-${bootId}`;
}

/** Starts one on 127.0.0.1. */
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
  const say = (message: ToTestThread): void => channel.postMessage(message);
  /** Moves the time in some threads. */
  const move = async (ms: number, threads: ReadonlySet<number>, only?: number): Promise<void> => {
    const step = steps++;
    const left = new Set(threads);
    await new Promise<void>((resolve) => {
      waiting.set(step, (thread) => {
        left.delete(thread);
        if (left.size === 0) resolve();
      });
      say({ advance: ms, step, ...(only === undefined ? {} : { only }) });
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
      // It hears nothing any more.
      if (message.closed) for (const moved of waiting.values()) moved(thread);
    } else if (!reported.has(thread)) {
      reported.add(thread);
      void move(clock.now(), new Set([thread]), thread).then(() => {
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
      await move(ms, living());
      await clock.advance(ms);
    },
    crash(thread) {
      failed.add(thread);
      say({ crash: thread });
    },
    async stop() {
      gateway.destroy();
      await gateway.close(0);
      channel.close();
    },
  };
}
