import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { matchesPattern, patternAt } from '../traffic/pattern.ts';
import { Deviation } from './deviation.ts';

/** How a connection ended, as a program on this side of it sees it. */
export type Ending = { readonly kind: 'clean' } | { readonly kind: 'error'; readonly code: string };

/** Pieces of a paced transfer. */
const PIECES = 64;
/** Bytes that a slow reader reads before it rests, and the milliseconds of that rest: about 5 MB/s. */
const SLOW_BYTES = 262_144;
const SLOW_REST_MS = 50;

/** One end of a connection through the tunnel. It reads nothing until it is told to; every byte is compared with what it must be. */
export class Endpoint {
  readonly #socket: Socket;
  readonly #name: string;
  readonly #waitMs: number;
  /** Checks that wait for something to happen. */
  readonly #waiting = new Set<() => void>();
  readonly #wake = (): void => {
    for (const check of this.#waiting) check();
  };
  #from: number | undefined;
  #received = 0;
  #ending: Ending | undefined;
  /** Of the connection, which may come after the other side's clean end. */
  #error: string | undefined;
  #wrong: Deviation | undefined;

  /**
   * @param name of this end, for messages
   * @param waitMs milliseconds without progress after which a wait fails
   */
  constructor(socket: Socket, name: string, waitMs: number) {
    this.#socket = socket;
    this.#name = name;
    this.#waitMs = waitMs;
    socket.pause();
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    socket.on('end', () => this.#settle({ kind: 'clean' }));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      this.#settle({ kind: 'error', code: error.code ?? error.message }),
    );
    socket.on('close', this.#wake);
  }

  get received(): number {
    return this.#received;
  }

  /** Bytes that the operating system has taken over from this end. */
  get accepted(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }

  /** Reads from now on. The bytes must be the pattern's from the offset `from`; counting starts anew. */
  expect(from: number): void {
    this.expectLater(from);
    this.#socket.resume();
  }

  /** As {@link expect}, but reads nothing yet. */
  expectLater(from: number): void {
    this.#from = from;
    this.#received = 0;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Sends back whatever comes, and ends when the other side does. */
  echo(): void {
    this.#socket.pipe(this.#socket);
  }

  /**
   * Sends the pattern from an offset on; resolves when the operating system has taken all of it.
   * @param mayStall whether the receiver stands still on purpose
   * @throws Deviation when the connection fails, or takes nothing for too long
   */
  async send(from: number, length: number, mayStall = false): Promise<void> {
    const start = this.accepted;
    for (let sent = 0; sent < length; ) {
      this.#assertWritable(sent, length);
      const piece = patternAt(from + sent, length - sent);
      sent += piece.length;
      if (!this.#socket.write(piece, this.#wake)) await this.#drained(mayStall);
    }
    await this.#until(
      () => (this.accepted - start >= length ? true : undefined),
      () => `sends ${length} bytes, of which ${this.accepted - start} were taken`,
      mayStall,
    );
  }

  /** Sends the pattern in small pieces, evenly spread over a time. */
  async sendPaced(from: number, length: number, overMs: number): Promise<void> {
    const size = Math.ceil(length / PIECES);
    for (let sent = 0; sent < length; sent += size) {
      await delay(overMs / PIECES);
      await this.send(from + sent, Math.min(size, length - sent));
    }
  }

  /** Half-closes: this side sends no more, and still reads. */
  end(): void {
    this.#socket.end();
  }

  /** Closes once everything written is with the operating system, as a program that exits does. */
  close(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  /** Aborts the connection by RST. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** Reads slowly for a time, then stands still. */
  async readSlowly(overMs: number): Promise<void> {
    for (const until = performance.now() + overMs; performance.now() < until; ) {
      await this.receive(this.#received + SLOW_BYTES);
      this.pause();
      await delay(SLOW_REST_MS);
    }
  }

  /** Reads until `count` bytes have come. @throws Deviation when they do not, or are wrong */
  async receive(count: number): Promise<void> {
    this.resume();
    await this.#until(
      () => {
        if (this.#received >= count) return true;
        if (this.#ending !== undefined)
          throw this.#deviation(`${describe(this.#ending)} after ${this.#received} of ${count} bytes`);
        return undefined;
      },
      () => `waits for ${count} bytes, of which ${this.#received} came`,
    );
  }

  /** Reads until the end, which must be clean and after exactly `count` bytes. @throws Deviation */
  async endsAfter(count: number): Promise<void> {
    const ending = await this.ending(`the end after ${count} bytes`);
    if (ending.kind !== 'clean' || this.#received !== count) {
      throw this.#deviation(`${describe(ending)} after ${this.#received} of ${count} bytes`);
    }
  }

  /** Reads until the connection ends, and must find it reset. @throws Deviation */
  async endsInReset(): Promise<void> {
    const ending = await this.ending('a reset');
    if (ending.kind === 'clean' || ending.code !== 'ECONNRESET') {
      throw this.#deviation(`${describe(ending)} in place of a reset, after ${this.#received} bytes`);
    }
  }

  /** Reads until the connection ends in whatever way. @throws Deviation when it does not, or bytes are wrong */
  async ending(awaited: string): Promise<Ending> {
    this.resume();
    return this.#until(
      () => this.#ending,
      () => `waits for ${awaited}; ${this.#received} bytes came, and the connection is still open`,
    );
  }

  /** Throws when the connection has ended. @throws Deviation */
  assertOpen(): void {
    if (this.#ending !== undefined) throw this.#deviation(`${describe(this.#ending)} while nothing was sent`);
  }

  #take(bytes: Buffer): void {
    if (this.#from !== undefined && !matchesPattern(bytes, this.#from + this.#received)) {
      this.#wrong ??= this.#deviation(`wrong bytes after ${this.#received} right ones`);
    }
    this.#received += bytes.length;
    this.#wake();
  }

  #settle(ending: Ending): void {
    this.#ending ??= ending;
    if (ending.kind === 'error') this.#error ??= ending.code;
    this.#wake();
  }

  #assertWritable(sent: number, length: number): void {
    if (this.#socket.writable) return;
    throw this.#deviation(`${this.#error ?? 'closed'} when ${sent} of ${length} bytes were sent`);
  }

  #drained(mayStall: boolean): Promise<boolean> {
    return this.#until(
      () => (this.#socket.writableNeedDrain && this.#socket.writable ? undefined : true),
      () => 'sends, and nothing is taken',
      mayStall,
    );
  }

  /** Resolves once `check` returns something. Without progress in either direction for {@link #waitMs} it fails, unless it may stall. */
  #until<T>(check: () => T | undefined, what: () => string, mayStall = false): Promise<T> {
    return new Promise((resolve, reject) => {
      let progress = -1;
      const settle = (act: () => void): void => {
        clearInterval(timer);
        this.#waiting.delete(attempt);
        act();
      };
      const attempt = (): void => {
        try {
          if (this.#wrong !== undefined) throw this.#wrong;
          const value = check();
          if (value !== undefined) settle(() => resolve(value));
          else if (this.#socket.closed) throw this.#deviation(`${what()}: the connection is closed`);
        } catch (error) {
          settle(() => reject(error));
        }
      };
      const timer = setInterval(() => {
        const now = this.#received + this.accepted;
        if (now === progress && !mayStall) {
          settle(() => reject(this.#deviation(`${what()}: nothing for ${this.#waitMs / 1000} s`)));
        }
        progress = now;
      }, this.#waitMs);
      this.#waiting.add(attempt);
      attempt();
    });
  }

  #deviation(what: string): Deviation {
    return new Deviation(`${this.#name}: ${what}`);
  }
}

/** An ending in words. */
export function describe(ending: Ending): string {
  return ending.kind === 'clean' ? 'a clean end' : ending.code;
}
