import type { ServerResponse } from 'node:http';
import { type CulvertError, type CutView, printable } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { Principal } from '../../auth/principal.ts';

/** Milliseconds between two keep-alive comments; proxies close idle connections after 60 s. */
const HEARTBEAT_MS = 15_000;

/** Maximum bytes queued for a slow subscriber: the changes of about 1,500 streams. Beyond that it is disconnected. */
export const MAX_WAITING_BYTES = 1_048_576;

/** Milliseconds a subscriber that is being disconnected has to read the queued events and the last one. */
const FAREWELL_MS = 10_000;

/** Events of a snapshot written before waiting for the subscriber to read them. */
const SNAPSHOT_CHUNK = 100;

/** A server-sent event: its type, and its data, which is sent as JSON. */
export interface Notice {
  readonly event: string;
  readonly data: unknown;
}

/** One subscribed connection, which receives server-sent events (WHATWG HTML, "Server-sent events"). */
export class Subscriber {
  readonly principal: Principal;
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  #heartbeat: Timer | undefined;
  #expiry: Timer | undefined;
  #farewell: Timer | undefined;
  #state: 'following' | 'cut' | 'gone' = 'following';

  /** @param options.onGone called once, when nothing can be sent any more */
  constructor(
    response: ServerResponse,
    options: { principal: Principal; clock: Clock; onExpired: (subscriber: Subscriber) => void; onGone: () => void },
  ) {
    const { principal, clock } = options;
    this.principal = principal;
    this.#response = response;
    this.#clock = clock;
    response.on('error', () => response.destroy());
    const onClose = (): void => {
      this.#cancelTimers();
      this.#farewell?.cancel();
      this.#state = 'gone';
      options.onGone();
    };
    // The client may have disconnected during authentication. `onGone` is called later, when the caller has added this subscriber.
    if (response.destroyed) {
      this.#state = 'gone';
      queueMicrotask(onClose);
      return;
    }
    response.once('close', onClose);
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Otherwise nginx buffers events.
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
    this.#keepAlive();
    this.#expiry = clock.setTimer(principal.expiresAt - clock.now(), () => options.onExpired(this));
  }

  get following(): boolean {
    return this.#state === 'following';
  }

  /** @returns false when the subscriber is too slow and has to be disconnected */
  send({ event, data }: Notice): boolean {
    if (!this.following) return true;
    this.#response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    return this.#response.writableLength <= MAX_WAITING_BYTES;
  }

  /** Sends the snapshot at the subscriber's pace; `undefined` items are skipped. */
  async sendAll(notices: Iterable<Notice | undefined>): Promise<void> {
    let sent = 0;
    for (const notice of notices) {
      if (!this.following) return;
      if (notice === undefined) continue;
      this.send(notice);
      if (++sent % SNAPSHOT_CHUNK === 0 && this.#response.writableNeedDrain) await this.#drained();
    }
  }

  /** Sends the reason as the last event after the queued ones, then ends the connection. */
  cut({ code, message }: CulvertError): void {
    if (!this.following) return;
    const data: CutView = { code, detail: printable(message, 512) };
    this.send({ event: 'cut', data });
    this.#state = 'cut';
    this.#cancelTimers();
    this.#farewell = this.#clock.setTimer(FAREWELL_MS, () => this.#response.destroy());
    this.#response.end();
  }

  /** Like {@link cut}, when the hub stops: resolves when the connection has closed, and does not wait for a subscriber that does not read. */
  async leave(error: CulvertError): Promise<void> {
    const reads = !this.#response.writableNeedDrain;
    this.cut(error);
    if (this.#state === 'gone') return;
    const closed = new Promise((resolve) => this.#response.once('close', resolve));
    if (!reads) this.#response.destroy();
    await closed;
  }

  #keepAlive(): void {
    this.#heartbeat = this.#clock.setTimer(HEARTBEAT_MS, () => {
      this.#response.write(':\n\n');
      this.#keepAlive();
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

  #cancelTimers(): void {
    this.#heartbeat?.cancel();
    this.#expiry?.cancel();
  }
}
