import { type Clock, destroyConnection, type Timer } from '@culvert/stream';

/**
 * What is needed of a socket here; a TLS socket and the TCP socket below it count as one, by the addresses and ports of both ends (a peer may
 * come to two doors from one port).
 */
interface PeerSocket {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

interface Pending {
  readonly address: string;
  readonly socket: PeerSocket;
  readonly timer: Timer;
}

/**
 * The connections that have not yet proved who they are: so many per address, each for so long. It bounds what strangers
 * can make the hub hold, whatever the door.
 */
export class UnprovenConnections {
  readonly #clock: Clock;
  readonly #authenticateMs: number;
  readonly #maxPerAddress: number;
  readonly #pending = new Map<string, Pending>();
  readonly #perAddress = new Map<string, number>();

  constructor(options: { clock: Clock; authenticateMs: number; maxPerAddress: number }) {
    this.#clock = options.clock;
    this.#authenticateMs = options.authenticateMs;
    this.#maxPerAddress = options.maxPerAddress;
  }

  /** Takes a new connection, or destroys it and says false when its address has too many. */
  admit(socket: PeerSocket): boolean {
    const address = socket.remoteAddress;
    // The peer was gone before we looked.
    if (address === undefined) {
      destroyConnection(socket);
      return false;
    }
    const key = keyOf(socket);
    // A peer that reset its connection may be back from the same port before that one's end was told.
    this.#release(key);
    const count = this.#perAddress.get(address) ?? 0;
    if (count >= this.#maxPerAddress) {
      destroyConnection(socket);
      return false;
    }
    this.#perAddress.set(address, count + 1);
    const timer = this.#clock.setTimer(this.#authenticateMs, () => destroyConnection(socket));
    this.#pending.set(key, { address, socket, timer });
    socket.once('close', () => {
      if (this.#pending.get(key)?.socket === socket) this.#release(key);
    });
    return true;
  }

  /** The connection has proved who it is: it no longer counts and may stay. */
  proven(socket: PeerSocket): void {
    this.#release(keyOf(socket));
  }

  /** How many there are now. */
  get size(): number {
    return this.#pending.size;
  }

  /** Ends them all, when the hub stops. */
  destroyAll(): void {
    for (const { socket } of [...this.#pending.values()]) destroyConnection(socket);
  }

  #release(key: string): void {
    const pending = this.#pending.get(key);
    if (pending === undefined) return;
    const { address, timer } = pending;
    timer.cancel();
    this.#pending.delete(key);
    const count = (this.#perAddress.get(address) ?? 1) - 1;
    if (count === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, count);
  }
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: PeerSocket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
