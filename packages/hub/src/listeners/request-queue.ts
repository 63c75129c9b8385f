import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Bytes that are parsed at once: fourteen of the shortest requests, so that few can be there before it is seen that they are too many. */
const PIECE_BYTES = 256;

/** Answers that a connection gets before it has authenticated: a probe's, a browser's for a page and its icon, and one more try with a better key. */
const UNAUTHENTICATED_ANSWERS = 4;

export interface RequestQueueOptions {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** Whether a connection has authenticated, and may ask as often as it likes. */
  readonly mayStay: (socket: Socket) => boolean;
}

interface QueuedRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** One connection. */
interface ConnectionQueue {
  readonly socket: Socket;
  /** What Node's HTTP does with bytes that come. */
  readonly parse: (chunk: Buffer) => void;
  readonly waiting: QueuedRequest[];
  current: QueuedRequest | undefined;
  /** What has come and is not parsed yet. */
  rest: Buffer | undefined;
  isParsing: boolean;
  /** It is paused, with a request that is queued. */
  isHeld: boolean;
  answers: number;
  /** No further request is answered. */
  isLast: boolean;
  isUpgraded: boolean;
  readonly onData: (chunk: Buffer) => void;
}

/**
 * Serves the requests of one connection one after the other, and parses the next one only when the one before is answered: Node parses all that has come and emits
 * `request` for each, which for 64 KiB of pipelined requests are thousands. Real clients wait for their answer before they ask again.
 *
 * It stands between a connection and Node's HTTP by taking the place of its `data` listener; HTTP then parses what it is given, and everything
 * else is Node's as before.
 */
export class RequestQueue {
  readonly #options: RequestQueueOptions;
  readonly #queues = new WeakMap<Socket, ConnectionQueue>();

  constructor(options: RequestQueueOptions) {
    this.#options = options;
  }

  /** Takes a connection over that HTTP has just taken. */
  watch(socket: Socket): void {
    const listeners = socket.listeners('data');
    if (socket.destroyed || listeners.length === 0) return;
    for (const listener of listeners) socket.off('data', listener as (chunk: Buffer) => void);
    const queue: ConnectionQueue = {
      socket,
      parse: (chunk) => {
        for (const listener of listeners) listener.call(socket, chunk);
      },
      waiting: [],
      ...{ current: undefined, rest: undefined, answers: 0 },
      ...{ isParsing: false, isHeld: false, isLast: false, isUpgraded: false },
      onData: (chunk) => this.#receive(queue, chunk),
    };
    this.#queues.set(socket, queue);
    socket.on('data', queue.onData);
  }

  /** HTTP has read a request. */
  take(request: IncomingMessage, response: ServerResponse): void {
    const queue = this.#queues.get(request.socket);
    // Requests after the last answer are discarded.
    if (queue === undefined || queue.isLast) return;
    queue.waiting.push({ request, response });
    if (queue.current === undefined) this.#next(queue);
  }

  /**
   * HTTP has read a request to upgrade, and let the connection go.
   * @param head what followed it in what was parsed
   * @returns all that followed it; undefined when requests before it are not answered yet, and the connection is destroyed: their answers would
   * come in the midst of what is spoken from now on
   */
  upgrade(socket: Socket, head: Buffer): Buffer | undefined {
    const queue = this.#queues.get(socket);
    if (queue === undefined) return head;
    queue.isUpgraded = true;
    socket.off('data', queue.onData);
    this.#queues.delete(socket);
    if (queue.current !== undefined || queue.isLast) {
      socket.destroy();
      return undefined;
    }
    const { rest } = queue;
    queue.rest = undefined;
    return rest === undefined ? head : Buffer.concat([head, rest]);
  }

  #receive(queue: ConnectionQueue, chunk: Buffer): void {
    // More may come in spite of the pause, when HTTP itself ends one.
    queue.rest = queue.rest === undefined ? chunk : Buffer.concat([queue.rest, chunk]);
    if (queue.isHeld) queue.socket.pause();
    else this.#parse(queue);
  }

  /** Parses what has come, as far as it may be. */
  #parse(queue: ConnectionQueue): void {
    const { socket } = queue;
    if (queue.isParsing) return;
    queue.isParsing = true;
    while (queue.rest !== undefined && !queue.isUpgraded) {
      // Of a last request the body is still wanted.
      const isOver = queue.isLast && queue.current?.request.complete !== false;
      if (isOver || socket.destroyed || !socket.writable) queue.rest = undefined;
      else if (queue.waiting.length > 0) break;
      else {
        const { rest } = queue;
        queue.rest = rest.length > PIECE_BYTES ? rest.subarray(PIECE_BYTES) : undefined;
        queue.parse(rest.subarray(0, PIECE_BYTES));
      }
    }
    queue.isParsing = false;
    if (queue.isUpgraded || queue.isHeld === (queue.rest !== undefined)) return;
    queue.isHeld = !queue.isHeld;
    if (queue.isHeld) socket.pause();
    else socket.resume();
  }

  #next(queue: ConnectionQueue): void {
    queue.current = queue.waiting.shift();
    if (queue.current !== undefined) this.#serve(queue, queue.current);
    this.#parse(queue);
  }

  #serve(queue: ConnectionQueue, { request, response }: QueuedRequest): void {
    if (!this.#options.mayStay(queue.socket) && ++queue.answers >= UNAUTHENTICATED_ANSWERS) {
      queue.isLast = true;
      queue.waiting.length = 0;
      // Node says `connection: close`, and does so.
      response.shouldKeepAlive = false;
    }
    response.once('close', () => {
      if (!queue.socket.destroyed) this.#next(queue);
    });
    this.#options.handle(request, response);
  }
}
