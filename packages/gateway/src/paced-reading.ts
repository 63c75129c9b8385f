import type { Duplex } from 'node:stream';
import type { ReadTurns, TurnReader } from './read-turns.ts';

/** Whether a socket is read: not while its owner has paused it, and not while it waits for its turn. */
export class PacedReading implements TurnReader {
  turn = 0;
  readBytes = 0;
  waits = false;

  readonly #socket: Duplex;
  readonly #turns: ReadTurns;
  #paused = false;

  constructor(socket: Duplex, turns: ReadTurns) {
    this.#socket = socket;
    this.#turns = turns;
  }

  /** Says that so many bytes came. */
  note(length: number): void {
    this.#turns.note(this, length);
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#turns.ask(this);
  }

  stop(): void {
    this.#socket.pause();
  }

  start(): void {
    if (!this.#paused) this.#socket.resume();
  }
}
