import type { SessionConnection } from './connection.ts';
import {
  CONNECTION_REASONS,
  type ConnectionReason,
  EMPTY,
  encodeText,
  encodeUint64,
  FRAME,
  HEADER_BYTES,
  MAX_SERVICE_BYTES,
  MAX_TEXT_BYTES,
  writeUint32,
} from './frame.ts';

/** Connections whose control frames could not be written yet. More means that the peer causes them faster than it acknowledges them. */
const MAX_OWING = 2_000;
/** Bytes of queued texts of refusals; further refusals carry no text. */
const MAX_REFUSAL_TEXT_BYTES = 16_384;

/** Where frames are written. */
export interface FrameSink {
  /** Bytes for which there is room. */
  readonly free: number;
  append(type: number, connection: number, payload: Uint8Array): void;
}

/** The control frames that a session has to send: of its connections, each once however often it is asked for, and answers of connections that are gone. */
export class ControlQueue {
  readonly #side: 'service' | 'device';
  readonly #ended: (connection: SessionConnection) => void;
  /** Connections that owe control frames, in order. */
  readonly #owing = new Set<SessionConnection>();
  /** Answers and resets of connections that are gone from the table. */
  readonly #farewells: Farewell[] = [];
  #textBytes = 0;

  /** @param ended END of the connection was written */
  constructor(side: 'service' | 'device', ended: (connection: SessionConnection) => void) {
    this.#side = side;
    this.#ended = ended;
  }

  get isEmpty(): boolean {
    return this.#owing.size === 0 && this.#farewells.length === 0;
  }

  /** What is wrong with a peer that causes so many answers, if anything. */
  get fault(): string | undefined {
    const owing = this.#owing.size + this.#farewells.length;
    return owing > MAX_OWING ? 'The peer causes more answers than it acknowledges.' : undefined;
  }

  /** The connection owes frames, as its properties say. */
  owe(connection: SessionConnection): void {
    this.#owing.add(connection);
  }

  forget(connection: SessionConnection): void {
    this.#owing.delete(connection);
  }

  clear(): void {
    this.#owing.clear();
    this.#farewells.length = 0;
  }

  reset(id: number, reason: ConnectionReason): void {
    this.#farewells.push({ type: FRAME.reset, id, reason, text: EMPTY });
  }

  refuse(id: number, reason: ConnectionReason, text: string): void {
    const bytes = encodeText(text);
    const fits = this.#textBytes + bytes.length <= MAX_REFUSAL_TEXT_BYTES;
    this.#farewells.push({ type: FRAME.refused, id, reason, text: fits ? bytes : EMPTY });
    if (fits) this.#textBytes += bytes.length;
  }

  /** Writes what there is room for. */
  write(sink: FrameSink): void {
    while (this.#farewells.length > 0 && sink.free >= HEADER_BYTES + 1 + MAX_TEXT_BYTES) {
      const { type, id, reason, text } = this.#farewells.shift() as Farewell;
      this.#textBytes -= text.length;
      const payload = new Uint8Array(1 + text.length);
      payload[0] = CONNECTION_REASONS[reason];
      payload.set(text, 1);
      sink.append(type, id, payload);
    }
    if (this.#farewells.length > 0) return;
    for (const connection of this.#owing) {
      if (sink.free < MAX_CONTROL_BYTES) return;
      this.#owing.delete(connection);
      this.#writeOwed(connection, sink);
    }
  }

  /** Writes END of a connection whose last data was just written, at once if nothing of it waits. */
  writeEnd(connection: SessionConnection, sink: FrameSink): void {
    if (sink.free >= MAX_CONTROL_BYTES && !this.#owing.has(connection)) this.#writeOwed(connection, sink);
    else this.owe(connection);
  }

  #writeOwed(connection: SessionConnection, sink: FrameSink): void {
    if (connection.isOver) return;
    if (connection.owesAnswer) {
      connection.owesAnswer = false;
      if (this.#side === 'service') sink.append(FRAME.open, connection.id, openPayload(connection));
      else sink.append(FRAME.opened, connection.id, openedPayload(connection));
      connection.owesLimit = false;
    } else if (connection.owesLimit && !(this.#side === 'device' && connection.isOpening)) {
      connection.owesLimit = false;
      sink.append(FRAME.limit, connection.id, encodeUint64(connection.window.limit));
    }
    if (connection.owesEnd && !(this.#side === 'device' && connection.isOpening)) {
      connection.endSent = true;
      sink.append(FRAME.end, connection.id, EMPTY);
      this.#ended(connection);
    }
  }
}

interface Farewell {
  readonly type: number;
  readonly id: number;
  readonly reason: ConnectionReason;
  readonly text: Uint8Array;
}

/** OPEN with the longest name, LIMIT and END of one connection. */
const MAX_CONTROL_BYTES = 3 * HEADER_BYTES + 4 + MAX_SERVICE_BYTES + 8;

const ENCODER = new TextEncoder();

function openPayload(connection: SessionConnection): Uint8Array {
  const name = ENCODER.encode(connection.service);
  const payload = new Uint8Array(4 + name.length);
  writeUint32(payload, 0, connection.window.limit);
  payload.set(name, 4);
  return payload;
}

function openedPayload(connection: SessionConnection): Uint8Array {
  const payload = new Uint8Array(4);
  writeUint32(payload, 0, connection.window.limit);
  return payload;
}
