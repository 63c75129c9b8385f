import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Maximum bytes parsed at a time: at most fourteen of the shortest requests, so that few are parsed before the queue can stop. */
const PIECE_BYTES = 256;

/** Number of responses to an unauthenticated connection: to a probe, to a browser for a page and its icon, and to a second attempt with a better key. */
const UNAUTHENTICATED_ANSWERS = 4;

export interface RequestQueueOptions {
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** Whether a connection has authenticated and may send any number of requests. */
  readonly mayStay: (socket: Socket) => boolean;
}

interface QueuedRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The state of one connection. */
interface ConnectionQueue {
  readonly socket: Socket;
  /** Passes bytes to Node's HTTP parser. */
  readonly parse: (chunk: Buffer) => void;
  readonly waiting: QueuedRequest[];
  current: QueuedRequest | undefined;
  /** Bytes received and not yet parsed. */
  rest: Buffer | undefined;
  isParsing: boolean;
  /** The socket is paused because it has bytes that may not be parsed yet. */
  isHeld: boolean;
  answers: number;
  /** The current request is the last one that is answered. */
  isLast: boolean;
  isUpgraded: boolean;
  readonly onData: (chunk: Buffer) => void;
}

/**
 * Handles the requests of one connection one after the other, and parses the next one only when the previous one has been answered. Node itself parses
 * all bytes received and emits `request` for each request, which makes thousands of events for 64 KiB of pipelined requests. Real clients wait for the
 * response before they send the next request.
 *
 * The queue replaces the `data` listener that Node's HTTP has on the socket, and passes bytes on to it; everything else works as in Node.
 */
export class RequestQueue {
  readonly #options: RequestQueueOptions;
  readonly #queues = new WeakMap<Socket, ConnectionQueue>();

  constructor(options: RequestQueueOptions) {
    this.#options = options;
  }

  /** Takes over a connection directly after Node's HTTP has added its listeners. */
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

  /** Handles or queues a request that Node's HTTP has parsed. */
  take(request: IncomingMessage, response: ServerResponse): void {
    const queue = this.#queues.get(request.socket);
    // Requests after the last answered one are discarded.
    if (queue === undefined || queue.isLast) return;
    queue.waiting.push({ request, response });
    if (queue.current === undefined) this.#next(queue);
  }

  /**
   * Removes the queue of a connection on which Node's HTTP has parsed an upgrade request; HTTP no longer uses the connection.
   * @param head the parsed bytes that followed the request
   * @returns all received bytes that followed the request; undefined when earlier requests have not been answered yet, and the connection is destroyed:
   * their responses would be mixed into the upgraded protocol
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
    // Bytes may be received in spite of the pause, when HTTP itself resumes the socket.
    queue.rest = queue.rest === undefined ? chunk : Buffer.concat([queue.rest, chunk]);
    if (queue.isHeld) queue.socket.pause();
    else this.#parse(queue);
  }

  /** Parses received bytes until a request has to wait for the response to an earlier one. */
  #parse(queue: ConnectionQueue): void {
    const { socket } = queue;
    if (queue.isParsing) return;
    queue.isParsing = true;
    while (queue.rest !== undefined && !queue.isUpgraded) {
      // The body of the last request is still parsed.
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
      // Makes Node send `connection: close` and close the connection.
      response.shouldKeepAlive = false;
    }
    response.once('close', () => {
      if (!queue.socket.destroyed) this.#next(queue);
    });
    this.#options.handle(request, response);
  }
}
