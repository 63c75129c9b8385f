/**
 * Bytes that connections which flood bring into one turn of the event loop together. To decrypt, move and encrypt them takes 0.15 ms or so,
 * which is what everything else waits for.
 */
export const TURN_BYTES = 131_072;

/** Bytes that one of them brings into a turn: libuv reads as much at once, so that less cannot be had. */
export const SHARE_BYTES = 65_536;

const SHARES = TURN_BYTES / SHARE_BYTES;

/** Bytes until which nobody asks whether a turn is over: a gateway of small frames would else do so for each of them. */
const UNCOUNTED_BYTES = 16_384;

/** One connection that is read, as {@link ReadTurns} counts it. */
export interface TurnReader {
  /** The turn that {@link readBytes} are of. */
  turn: number;
  readBytes: number;
  /** Whether it stands in line: nothing is to be read until {@link start}. */
  waits: boolean;
  stop(): void;
  start(): void;
}

/**
 * Shares the turns of the event loop among the connections that it reads, so that many which flood hold up the others no more than two do.
 * Who has read its share stands in line, as does who was paused and is to be read again, and each turn takes from the line as many as there
 * are shares. A connection that reads little never waits, and a flood alone waits for nobody.
 */
export class ReadTurns {
  /** Those that wait, the first one first: each connection once, so no more than there are. */
  readonly #line: TurnReader[] = [];
  #turn = 0;
  /** What all have read in this turn. */
  #readBytes = 0;
  /** Shares given for the turn to come. */
  #given = 0;
  #end: NodeJS.Immediate | undefined;

  /** Connections that wait for a turn. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Says that a connection was read; stops it when it has had its share. */
  note(reader: TurnReader, length: number): void {
    this.#readBytes += length;
    if (this.#readBytes >= UNCOUNTED_BYTES) this.#end ??= setImmediate(this.#onEnd);
    if (reader.turn !== this.#turn) {
      reader.turn = this.#turn;
      reader.readBytes = 0;
    }
    reader.readBytes += length;
    if (reader.readBytes < SHARE_BYTES || reader.waits) return;
    if (this.#readBytes < TURN_BYTES && this.#line.length === 0) return;
    reader.stop();
    this.#wait(reader);
  }

  /** Starts a connection that its owner had paused: now, or when a share is left for it. */
  ask(reader: TurnReader): void {
    if (reader.waits) return;
    if (this.#given >= SHARES) {
      this.#wait(reader);
      return;
    }
    this.#given++;
    this.#end ??= setImmediate(this.#onEnd);
    reader.start();
  }

  #wait(reader: TurnReader): void {
    reader.waits = true;
    this.#line.push(reader);
    this.#end ??= setImmediate(this.#onEnd);
  }

  readonly #onEnd = (): void => {
    this.#turn++;
    this.#readBytes = 0;
    const next = this.#line.splice(0, SHARES);
    this.#given = next.length;
    this.#end = this.#given > 0 ? setImmediate(this.#onEnd) : undefined;
    for (const reader of next) {
      reader.waits = false;
      reader.start();
    }
  };
}
