import type { ServerResponse } from 'node:http';
import { type CulvertError, type CutView, printable } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { Principal } from '../auth/principal.ts';

/** Milliseconds between two comments that keep proxies from taking the silence for an end; they forget at 60 s. */
const HEARTBEAT_MS = 15_000;

/** Bytes that may wait for a follower who does not read: some 1,500 streams' changes. Beyond, it is cut: it would be told old news. */
export const MAX_WAITING_BYTES = 1_048_576;

/** Milliseconds a follower who was cut has to take what waits and the last event, before its connection is. */
const FAREWELL_MS = 10_000;

/** Events of a snapshot written before the follower must have taken them. */
const SNAPSHOT_CHUNK = 100;

/** An event as it is sent; undefined: nothing any more. */
export interface Notice {
  readonly event: string;
  readonly data: unknown;
}

/** One connection that is told what happens, as server-sent events (WHATWG HTML, "Server-sent events"). */
export class Follower {
  readonly principal: Principal;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  #heartbeat: Timer | undefined;
  #expiry: Timer | undefined;
  #farewell: Timer | undefined;
  #state: 'following' | 'cut' | 'gone' = 'following';

  /** @param options.onGone told once, when nothing can be sent any more */
  constructor(
    response: ServerResponse,
    options: { principal: Principal; clock: Clock; onExpired: (follower: Follower) => void; onGone: () => void },
  ) {
    const { principal, clock } = options;
    this.principal = principal;
    this.#response = response;
    this.#clock = clock;
    response.on('error', () => response.destroy());
    const onClose = (): void => {
      this.#release();
      this.#farewell?.cancel();
      this.#state = 'gone';
      options.onGone();
    };
    // It may have left while it was being authenticated; whoever adds it must know it first.
    if (response.destroyed) {
      this.#state = 'gone';
      queueMicrotask(onClose);
      return;
    }
    response.once('close', onClose);
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // nginx would collect what is meant to arrive at once.
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
    this.#beat();
    this.#expiry = clock.setTimer(principal.expiresAt - clock.now(), () => options.onExpired(this));
  }

  get following(): boolean {
    return this.#state === 'following';
  }

  /** @returns false when the follower is too slow for it, and has to be cut */
  send({ event, data }: Notice): boolean {
    if (!this.following) return true;
    this.#response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    return this.#response.writableLength <= MAX_WAITING_BYTES;
  }

  /** Sends what there is, at the pace of the follower; `undefined` is left out: it has gone meanwhile. */
  async sendAll(notices: Iterable<Notice | undefined>): Promise<void> {
    let sent = 0;
    for (const notice of notices) {
      if (!this.following) return;
      if (notice === undefined) continue;
      this.send(notice);
      if (++sent % SNAPSHOT_CHUNK === 0 && this.#response.writableNeedDrain) await this.#drained();
    }
  }

  /** Says why nothing more will be told, and ends the connection; what waits and that last event still go out. */
  cut({ code, message }: CulvertError): void {
    if (!this.following) return;
    const data: CutView = { code, detail: printable(message, 512) };
    this.send({ event: 'cut', data });
    this.#state = 'cut';
    this.#release();
    this.#farewell = this.#clock.setTimer(FAREWELL_MS, () => this.#response.destroy());
    this.#response.end();
  }

  /** {@link cut} at the hub's end: whoever does not read is not waited for. */
  async leave(error: CulvertError): Promise<void> {
    const reads = !this.#response.writableNeedDrain;
    this.cut(error);
    if (this.#state === 'gone') return;
    const closed = new Promise((resolve) => this.#response.once('close', resolve));
    if (!reads) this.#response.destroy();
    await closed;
  }

  #beat(): void {
    this.#heartbeat = this.#clock.setTimer(HEARTBEAT_MS, () => {
      this.#response.write(':\n\n');
      this.#beat();
    });
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#response.off('drain', done).off('close', done);
        resolve();
      };
      this.#response.on('drain', done).on('close', done);
    });
  }

  #release(): void {
    this.#heartbeat?.cancel();
    this.#expiry?.cancel();
  }
}
