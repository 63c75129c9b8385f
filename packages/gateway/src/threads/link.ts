import type { MessagePort } from 'node:worker_threads';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { UpgradeRequest } from '../upgrade.ts';
import { type BlockMemory, blockViews, viewOf } from './block-memory.ts';

/** A client as one thread hands it to another: its upgrade was read and its grant verified, nothing was answered. */
export interface HandedGuest {
  readonly upgrade: UpgradeRequest;
  readonly claims: GrantClaims;
  readonly remoteAddress: string;
  /** What of the connection was read behind the request. */
  readonly head: Uint8Array;
}

/**
 * What two threads say to each other about a connection, each by the connection's number on their link. Of one connection everything
 * arrives in the order in which it was sent.
 */
export type LinkItem =
  /** A client that landed in the sender's thread, for the receiver to seat. */
  | readonly ['guest', connection: number, guest: HandedGuest]
  /** Bytes in a block of the sender's memory, the receiver's until it says `taken`. */
  | readonly ['block', connection: number, block: number, length: number]
  /** Bytes, copied: a few, or when the sender has no block left. */
  | readonly ['bytes', connection: number, bytes: Uint8Array]
  /** The sender sends no more bytes. */
  | readonly ['end', connection: number]
  /** So many of the receiver's `block`, `bytes` and `end` are done with, and so many bytes of them were passed on. */
  | readonly ['taken', connection: number, items: number, passedOn: number]
  /** The connection is closed, or must be. The last of the thread where the client landed. */
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

/** What a link's first message each way carries: where the sender's blocks are. */
interface Opening {
  readonly memory: SharedArrayBuffer;
}

/**
 * Between two threads of a gateway: carries connections that landed in one to the other. What is said in one turn of the event loop goes
 * in one message at its end; bytes lie in shared memory and are not in it.
 */
export class Link {
  readonly memory: BlockMemory;

  readonly #port: MessagePort;
  readonly #onGuest: (link: Link, connection: number, guest: HandedGuest) => void;
  readonly #ends = new Map<number, LinkEnd>();
  /** Those who gather bytes for the message to come. */
  readonly #gathering = new Set<{ seal(): void }>();
  #theirs: readonly Buffer[] = [];
  #items: LinkItem[] = [];
  #turn: NodeJS.Immediate | undefined;
  #connections = 0;
  #isLost = false;

  /**
   * @param onGuest told of a client that the other thread hands over
   * @param onLost told when the other thread is gone, after every connection's end was
   */
  constructor(
    port: MessagePort,
    memory: BlockMemory,
    onGuest: (link: Link, connection: number, guest: HandedGuest) => void,
    onLost: () => void,
  ) {
    this.#port = port;
    this.memory = memory;
    this.#onGuest = onGuest;
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

  /** Connections that are not over. */
  get size(): number {
    return this.#ends.size;
  }

  /** A number for a connection that is handed over; only the thread that began the link hands over on it. */
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
    this.#turn ??= setImmediate(this.#post);
  }

  /** Has `gatherer` sealed, which sends what it gathered, before this turn's message leaves. */
  gather(gatherer: { seal(): void }): void {
    this.#gathering.add(gatherer);
    this.#turn ??= setImmediate(this.#post);
  }

  close(): void {
    clearImmediate(this.#turn);
    this.#port.close();
  }

  readonly #post = (): void => {
    this.#turn = undefined;
    for (const gatherer of this.#gathering) gatherer.seal();
    this.#gathering.clear();
    // Sealing asked for a turn of its own.
    clearImmediate(this.#turn);
    this.#turn = undefined;
    const items = this.#items;
    this.#items = [];
    this.#port.postMessage(items);
  };

  #receive(item: LinkItem): void {
    const [kind, connection] = item;
    if (kind === 'guest') {
      this.#onGuest(this, connection, item[2]);
      return;
    }
    const end = this.#ends.get(connection);
    // It may be over here before the other thread knows.
    if (end === undefined) return;
    if (kind === 'block') end.onBytes(viewOf(this.#theirs, item[2]).subarray(0, item[3]));
    else if (kind === 'bytes') end.onBytes(Buffer.from(item[2].buffer, item[2].byteOffset, item[2].length));
    else if (kind === 'end') end.onEnded();
    else if (kind === 'taken') end.onTaken(item[2], item[3]);
    else end.onClosed();
  }
}
