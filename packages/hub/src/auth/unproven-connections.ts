import type { Clock, Timer } from '@culvert/stream';

/** What is needed of a socket here; a TLS socket and the TCP socket below it count as one, by their peer's address and port. */
interface PeerSocket {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/**
 * The connections that have not yet proved who they are: so many per address, each for so long. It bounds what strangers
 * can make the hub hold, whatever the door.
 */
export class UnprovenConnections {
  readonly #clock: Clock;
  readonly #authenticateMs: number;
  readonly #maxPerAddress: number;
  readonly #pending = new Map<string, { timer: Timer; socket: PeerSocket }>();
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
      socket.destroy();
      return false;
    }
    const count = this.#perAddress.get(address) ?? 0;
    if (count >= this.#maxPerAddress) {
      socket.destroy();
      return false;
    }
    const key = `${address} ${socket.remotePort}`;
    this.#perAddress.set(address, count + 1);
    const timer = this.#clock.setTimer(this.#authenticateMs, () => socket.destroy());
    this.#pending.set(key, { timer, socket });
    socket.once('close', () => this.#release(key, address));
    return true;
  }

  /** The connection has proved who it is: it no longer counts and may stay. */
  proven(socket: PeerSocket): void {
    if (socket.remoteAddress === undefined) return;
    this.#release(`${socket.remoteAddress} ${socket.remotePort}`, socket.remoteAddress);
  }

  /** How many there are now. */
  get size(): number {
    return this.#pending.size;
  }

  /** Ends them all, when the hub stops. */
  destroyAll(): void {
    for (const { socket } of [...this.#pending.values()]) socket.destroy();
  }

  #release(key: string, address: string): void {
    const pending = this.#pending.get(key);
    if (pending === undefined) return;
    pending.timer.cancel();
    this.#pending.delete(key);
    const count = (this.#perAddress.get(address) ?? 1) - 1;
    if (count === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, count);
  }
}
