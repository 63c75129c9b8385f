import type { webcrypto } from 'node:crypto';
import { type GatewayEvent, type GatewayLimits, GatewayThreads, type ThreadPair } from '@culvert/gateway';
import type { FakeClock } from './fake-clock.ts';

/** What the test says to all threads of its gateway. */
export type ToTestThread =
  /** Move the time on by so many milliseconds, and say so. */
  | { readonly advance: number; readonly turn: number }
  /** Fail, if this is your id. */
  | { readonly crash: number };

/** What is kept in one thread. */
export interface TestThreadReport {
  readonly guests: number;
  readonly streams: number;
  readonly bufferedBytes: number;
  readonly blocksTaken: number;
  readonly timers: number;
}

/** What a thread says to the test. */
export type FromTestThread = { readonly thread: number } & (TestThreadReport | { readonly advanced: number });

export interface TestThreadsOptions {
  readonly threads: number;
  /** All on one port; default each on its own. */
  readonly together?: boolean;
  readonly pair: ThreadPair;
  readonly grantKey: webcrypto.CryptoKey;
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

let channels = 0;

/** Starts one on 127.0.0.1. */
export async function startThreads(options: TestThreadsOptions): Promise<TestThreads> {
  const { clock, together = false } = options;
  const name = `culvert-test-${process.pid}-${channels++}`;
  const channel = new BroadcastChannel(name);
  const reports = new Map<number, TestThreadReport>();
  let reported: () => void = () => undefined;
  const failed = new Set<number>();
  const waiting = new Map<number, (thread: number) => void>();
  channel.onmessage = (event) => {
    const message = (event as { readonly data: FromTestThread }).data;
    if ('advanced' in message) waiting.get(message.advanced)?.(message.thread);
    else reports.set(message.thread, message);
    reported();
  };
  const say = (message: ToTestThread): void => channel.postMessage(message);
  const entry = new URL(import.meta.url.replace('test-threads', 'gateway-thread-entry'));
  entry.search = new URLSearchParams({ channel: name, now: String(clock.now()) }).toString();
  const gateway = await GatewayThreads.start({
    ...options,
    entry,
    apart: !together,
    listen: { host: '127.0.0.1', port: 0 },
    maxUnprovenPerAddress: 1_000,
    onTlsFailed: () => undefined,
  });
  // From then on they hear what is said on the channel.
  while (reports.size < options.threads) {
    await new Promise<void>((resolve) => {
      reported = resolve;
    });
  }
  let turns = 0;
  return {
    gateway,
    reports,
    async advance(ms) {
      const turn = turns++;
      const expected = new Set([...reports.keys()].filter((thread) => !failed.has(thread)));
      const all = new Promise<void>((resolve) => {
        waiting.set(turn, (thread) => {
          expected.delete(thread);
          if (expected.size === 0) resolve();
        });
      });
      say({ advance: ms, turn });
      if (expected.size > 0) await all;
      waiting.delete(turn);
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
