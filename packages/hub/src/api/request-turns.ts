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

/** One connection. */
interface Line {
  readonly socket: Socket;
  /** What Node's HTTP does with bytes that come. */
  readonly parse: (chunk: Buffer) => void;
  readonly waiting: { readonly request: IncomingMessage; readonly response: ServerResponse }[];
  current: { readonly request: IncomingMessage; readonly response: ServerResponse } | undefined;
  /** What has come and is not parsed yet. */
  rest: Buffer | undefined;
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
      ...{ current: undefined, rest: undefined, answers: 0, isLast: false, isUpgraded: false },
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
    return rest === undefined || rest.length === 0 ? head : Buffer.concat([head, rest]);
  }

  #receive(line: Line, chunk: Buffer): void {
    // It comes in spite of the pause when HTTP itself ends one.
    if (line.rest !== undefined) {
      line.rest = Buffer.concat([line.rest, chunk]);
      line.socket.pause();
      return;
    }
    this.#parse(line, chunk);
  }

  #parse(line: Line, chunk: Buffer): void {
    const { socket } = line;
    for (let at = 0; at < chunk.length; ) {
      if (line.isUpgraded || socket.destroyed || !socket.writable) return;
      // Of a last request the body is still wanted.
      if (line.isLast && line.current?.request.complete !== false) return;
      if (line.waiting.length > 0) {
        line.rest = chunk.subarray(at);
        socket.pause();
        return;
      }
      const piece = chunk.subarray(at, at + PIECE_BYTES);
      at += piece.length;
      line.rest = chunk.subarray(at);
      line.parse(piece);
      if (!line.isUpgraded) line.rest = undefined;
    }
  }

  #next(line: Line): void {
    const next = line.waiting.shift();
    line.current = next;
    if (next === undefined) {
      this.#goOn(line);
      return;
    }
    const { request, response } = next;
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

  #goOn(line: Line): void {
    const { rest, socket } = line;
    if (rest === undefined) return;
    line.rest = undefined;
    this.#parse(line, rest);
    if (line.rest === undefined && !line.isUpgraded) socket.resume();
  }
}
