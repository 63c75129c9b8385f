import type { MessagePort } from 'node:worker_threads';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { UpgradeRequest } from '../upgrade.ts';
import { type BlockMemory, blockViews, viewOf } from './block-memory.ts';

/** A client that one thread forwards to another: its upgrade was parsed and its grant verified, but not answered. */
export interface ForwardedConnection {
  readonly upgrade: UpgradeRequest;
  readonly claims: GrantClaims;
  readonly remoteAddress: string;
  /** Bytes of the connection read after the request. */
  readonly head: Uint8Array;
}

/**
 * Messages between two threads about a connection, identified by its number on their link. All messages of one connection
 * arrive in order.
 */
export type LinkItem =
  /** A client accepted by the sender's thread, for the receiver to register. */
  | readonly ['forward', connection: number, arrival: ForwardedConnection]
  /** Bytes in a block of the sender's memory, reserved for the receiver until it sends `taken`. */
  | readonly ['block', connection: number, block: number, length: number]
  /** Copied bytes: only a few, or when the sender has no free block. */
  | readonly ['bytes', connection: number, bytes: Uint8Array]
  /** The sender sends no more bytes. */
  | readonly ['end', connection: number]
  /** How many of the receiver's `block`, `bytes` and `end` messages were processed, and how many bytes were passed on. */
  | readonly ['taken', connection: number, items: number, passedOn: number]
  /** The connection is closed, or must be. The last message of the thread that accepted the client. */
  | readonly ['closed', connection: number];

/** One connection at its end of a {@link Link}. */
export interface LinkEnd {
  /** @param bytes the sender's: valid until {@link Link.send} of `taken` */
  onBytes(bytes: Buffer): void;
  onEnded(): void;
  onTaken(items: number, passedOn: number): void;
  onClosed(): void;
  /** The other thread is gone. */
  onLost(): void;
}

/** The first message of a link in each direction: the sender's block memory. */
interface Opening {
  readonly memory: SharedArrayBuffer;
}

/**
 * A link between two gateway threads: carries connections accepted by one to the other. All messages of one event-loop iteration are sent
 * together at its end; bytes are in shared memory, not in the message.
 */
export class Link {
  readonly memory: BlockMemory;

  readonly #port: MessagePort;
  readonly #onForwarded: (link: Link, connection: number, arrival: ForwardedConnection) => void;
  readonly #ends = new Map<number, LinkEnd>();
  /** Buffers that collect bytes for the next message. */
  readonly #gathering = new Set<{ seal(): void }>();
  #theirs: readonly Buffer[] = [];
  #items: LinkItem[] = [];
  #scheduled: NodeJS.Immediate | undefined;
  #connections = 0;
  #isLost = false;

  /**
   * @param onForwarded called for a client that the other thread forwards
   * @param onLost called when the other thread has died, after the end of every connection was reported
   */
  constructor(
    port: MessagePort,
    memory: BlockMemory,
    onForwarded: (link: Link, connection: number, arrival: ForwardedConnection) => void,
    onLost: () => void,
  ) {
    this.#port = port;
    this.memory = memory;
    this.#onForwarded = onForwarded;
    port.on('message', (message: Opening | readonly LinkItem[]) => {
      if ('memory' in message) this.#theirs = blockViews(message.memory);
      else for (const item of message) this.#receive(item);
    });
    port.once('close', () => {
      this.#isLost = true;
      for (const end of [...this.#ends.values()]) end.onLost();
      this.#ends.clear();
      onLost();
    });
    port.postMessage({ memory: memory.shared } satisfies Opening);
  }

  /** Open connections. */
  get size(): number {
    return this.#ends.size;
  }

  /** Assigns a number to a forwarded connection; only the thread that created the link forwards on it. */
  newConnection(): number {
    return this.#connections++;
  }

  attach(connection: number, end: LinkEnd): void {
    if (this.#isLost) queueMicrotask(() => end.onLost());
    else this.#ends.set(connection, end);
  }

  detach(connection: number): void {
    this.#ends.delete(connection);
  }

  send(item: LinkItem): void {
    this.#items.push(item);
    this.#scheduled ??= setImmediate(this.#post);
  }

  /** Schedules `gatherer` to be flushed before this iteration's message is sent. */
  gather(gatherer: { seal(): void }): void {
    this.#gathering.add(gatherer);
    this.#scheduled ??= setImmediate(this.#post);
  }

  close(): void {
    clearImmediate(this.#scheduled);
    this.#port.close();
  }

  readonly #post = (): void => {
    this.#scheduled = undefined;
    for (const gatherer of this.#gathering) gatherer.seal();
    this.#gathering.clear();
    // Flushing scheduled another message.
    clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    const items = this.#items;
    this.#items = [];
    this.#port.postMessage(items);
  };

  #receive(item: LinkItem): void {
    const [kind, connection] = item;
    if (kind === 'forward') {
      this.#onForwarded(this, connection, item[2]);
      return;
    }
    const end = this.#ends.get(connection);
    // It may have ended here before the other thread knows.
    if (end === undefined) return;
    if (kind === 'block') end.onBytes(viewOf(this.#theirs, item[2]).subarray(0, item[3]));
    else if (kind === 'bytes') end.onBytes(Buffer.from(item[2].buffer, item[2].byteOffset, item[2].length));
    else if (kind === 'end') end.onEnded();
    else if (kind === 'taken') end.onTaken(item[2], item[3]);
    else end.onClosed();
  }
}
