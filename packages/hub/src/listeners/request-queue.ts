import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Bytes that are parsed at once: fourteen of the shortest requests, so that few can be there before it is seen that they are too many. */
const PIECE_BYTES = 256;

/** Answers that a connection gets before it has authenticated: a probe's, a browser's for a page and its icon, and one more try with a better key. */
const UNAUTHENTICATED_ANSWERS = 4;

export interface RequestTurnsOptions {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** Whether a connection has authenticated, and may ask as often as it likes. */
  readonly mayStay: (socket: Socket) => boolean;
}

interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** One connection. */
interface Line {
  readonly socket: Socket;
  /** What Node's HTTP does with bytes that come. */
  readonly parse: (chunk: Buffer) => void;
  readonly waiting: Asked[];
  current: Asked | undefined;
  /** What has come and is not parsed yet. */
  rest: Buffer | undefined;
  isParsing: boolean;
  /** It is paused, with a request that waits for its turn. */
  isHeld: boolean;
  answers: number;
  /** No further request is answered. */
  isLast: boolean;
  isUpgraded: boolean;
  readonly onData: (chunk: Buffer) => void;
}

/**
 * Has the requests of one connection served one after the other, and the next ones not even parsed before their turn: Node parses all that has come and emits
 * `request` for each, which for 64 KiB of pipelined requests are thousands. Real clients wait for their answer before they ask again.
 *
 * It stands between a connection and Node's HTTP by taking the place of its `data` listener; HTTP then parses what it is given, and everything
 * else is Node's as before.
 */
export class RequestTurns {
  readonly #options: RequestTurnsOptions;
  readonly #lines = new WeakMap<Socket, Line>();

  constructor(options: RequestTurnsOptions) {
    this.#options = options;
  }

  /** Takes a connection over that HTTP has just taken. */
  watch(socket: Socket): void {
    const listeners = socket.listeners('data');
    if (socket.destroyed || listeners.length === 0) return;
    for (const listener of listeners) socket.off('data', listener as (chunk: Buffer) => void);
    const line: Line = {
      socket,
      parse: (chunk) => {
        for (const listener of listeners) listener.call(socket, chunk);
      },
      waiting: [],
      ...{ current: undefined, rest: undefined, answers: 0 },
      ...{ isParsing: false, isHeld: false, isLast: false, isUpgraded: false },
      onData: (chunk) => this.#receive(line, chunk),
    };
    this.#lines.set(socket, line);
    socket.on('data', line.onData);
  }

  /** HTTP has read a request. */
  take(request: IncomingMessage, response: ServerResponse): void {
    const line = this.#lines.get(request.socket);
    // Nobody waits for what is asked behind a last answer.
    if (line === undefined || line.isLast) return;
    line.waiting.push({ request, response });
    if (line.current === undefined) this.#next(line);
  }

  /**
   * HTTP has read a request to upgrade, and let the connection go.
   * @param head what followed it in what was parsed
   * @returns all that followed it; undefined when requests before it are not answered yet, and the connection is destroyed: their answers would
   * come in the midst of what is spoken from now on
   */
  upgrade(socket: Socket, head: Buffer): Buffer | undefined {
    const line = this.#lines.get(socket);
    if (line === undefined) return head;
    line.isUpgraded = true;
    socket.off('data', line.onData);
    this.#lines.delete(socket);
    if (line.current !== undefined || line.isLast) {
      socket.destroy();
      return undefined;
    }
    const { rest } = line;
    line.rest = undefined;
    return rest === undefined ? head : Buffer.concat([head, rest]);
  }

  #receive(line: Line, chunk: Buffer): void {
    // More may come in spite of the pause, when HTTP itself ends one.
    line.rest = line.rest === undefined ? chunk : Buffer.concat([line.rest, chunk]);
    if (line.isHeld) line.socket.pause();
    else this.#parse(line);
  }

  /** Parses what has come, as far as it may be. */
  #parse(line: Line): void {
    const { socket } = line;
    if (line.isParsing) return;
    line.isParsing = true;
    while (line.rest !== undefined && !line.isUpgraded) {
      // Of a last request the body is still wanted.
      const isOver = line.isLast && line.current?.request.complete !== false;
      if (isOver || socket.destroyed || !socket.writable) line.rest = undefined;
      else if (line.waiting.length > 0) break;
      else {
        const { rest } = line;
        line.rest = rest.length > PIECE_BYTES ? rest.subarray(PIECE_BYTES) : undefined;
        line.parse(rest.subarray(0, PIECE_BYTES));
      }
    }
    line.isParsing = false;
    if (line.isUpgraded || line.isHeld === (line.rest !== undefined)) return;
    line.isHeld = !line.isHeld;
    if (line.isHeld) socket.pause();
    else socket.resume();
  }

  #next(line: Line): void {
    line.current = line.waiting.shift();
    if (line.current !== undefined) this.#serve(line, line.current);
    this.#parse(line);
  }

  #serve(line: Line, { request, response }: Asked): void {
    if (!this.#options.mayStay(line.socket) && ++line.answers >= UNAUTHENTICATED_ANSWERS) {
      line.isLast = true;
      line.waiting.length = 0;
      // Node says `connection: close`, and does so.
      response.shouldKeepAlive = false;
    }
    response.once('close', () => {
      if (!line.socket.destroyed) this.#next(line);
    });
    this.#options.handle(request, response);
  }
}
