import { LIMITS } from '@culvert/protocol';
import { type Clock, destroyConnection, type Timer } from '@culvert/stream';
import { addressGroup } from '../auth/address-group.ts';

/** What is needed of a TCP socket here. */
interface TcpSocket {
  /** Bytes that have come from the peer. */
  readonly bytesRead?: number;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** The TLS socket above it. */
interface SecureSocket {
  destroy(): unknown;
}

export interface UnauthenticatedLimits {
  /** Milliseconds until a connection must have sent the first message of TLS whole, and before it a PROXY header where one is expected. */
  readonly helloMs: number;
  /** Milliseconds until it must have authenticated, those included. */
  readonly authenticateMs: number;
  /** Bytes that a client may send before its TLS handshake is finished. */
  readonly handshakeBytes: number;
  /** Connections of one address; of IPv6, of one /64. */
  readonly maxPerAddress: number;
  /** Connections of all addresses together. */
  readonly maxTotal: number;
}

type Limits = Partial<UnauthenticatedLimits> & Pick<UnauthenticatedLimits, 'maxPerAddress' | 'maxTotal'>;

/** How far a connection has come. */
type Stage = 'hello' | 'handshake' | 'secure';

interface Pending {
  readonly socket: TcpSocket;
  readonly since: number;
  stage: Stage;
  /** Once there is one. */
  secure: SecureSocket | undefined;
  /** Undefined while it is not known for whom a load balancer has opened the connection. */
  group: string | undefined;
  timer: Timer | undefined;
}

/** How often a connection in its TLS handshake is looked at for what it has sent, in milliseconds: OpenSSL itself keeps no more than 128 KiB. */
const LOOK_MS = 1_000;

/** Milliseconds that a connection has for its next step before it makes room for others first: real clients take a few round trips. */
const IDLE_MS = 2_000;

/**
 * The connections that have not yet authenticated: limited in number for each address and in all, each for a limited time. This bounds what unauthenticated clients can make the
 * hub hold, at every listener.
 *
 * When there is no room for a new one, another is closed for it, so that connections that say nothing keep nobody out who shares their address: the
 * oldest whose TLS handshake is not finished after {@link IDLE_MS}; if there is none, the oldest that finished it and has not authenticated after
 * {@link IDLE_MS}; if there is none, the oldest whose handshake is not finished.
 */
export class UnauthenticatedConnections {
  readonly #clock: Clock;
  readonly #limits: UnauthenticatedLimits;
  /** In the order in which they came. */
  readonly #all = new Set<Pending>();
  readonly #groups = new Map<string, Set<Pending>>();
  /** By the TCP socket, and by the TLS socket above it. */
  readonly #bySocket = new WeakMap<object, Pending>();
  #evicted = 0;

  /** Absent fields use the protocol's own limit. */
  constructor(options: Limits & { clock: Clock }) {
    this.#clock = options.clock;
    this.#limits = {
      helloMs: LIMITS.clientHelloMs,
      authenticateMs: LIMITS.authenticateMs,
      handshakeBytes: LIMITS.tlsHandshakeBytes,
      ...options,
    };
  }

  /**
   * Takes a new connection; returns false and destroys it when there is no room.
   * @param address the peer's; undefined for a load balancer's connection until {@link readdress}. Empty: the peer was gone before anybody looked
   */
  admit(socket: TcpSocket, address: string | undefined): boolean {
    const group = address === undefined ? undefined : addressGroup(address);
    if (address === '' || !this.#makeRoom(group)) {
      destroyConnection(socket);
      return false;
    }
    const pending: Pending = {
      ...{ socket, group, since: this.#clock.now(), stage: 'hello' },
      ...{ secure: undefined, timer: undefined },
    };
    this.#all.add(pending);
    this.#bySocket.set(socket, pending);
    this.#join(pending, group);
    this.#arm(pending);
    socket.once('close', () => this.#release(pending));
    return true;
  }

  /** A load balancer has said whose connection this is: it counts for that address from now on. False when there is no room, and it is destroyed. */
  readdress(socket: TcpSocket, address: string): boolean {
    const pending = this.#pending(socket);
    if (pending === undefined) return false;
    const group = addressGroup(address);
    // Of those in all it is one already.
    if (!this.#makeRoomIn(group)) {
      this.#end(pending);
      return false;
    }
    pending.group = group;
    this.#join(pending, group);
    return true;
  }

  /** The first message of TLS has come, and the handshake begins. False when the connection has just been ended. */
  handshakeBegun(socket: TcpSocket): boolean {
    const pending = this.#pending(socket);
    if (pending === undefined) return false;
    pending.stage = 'handshake';
    this.#arm(pending);
    return true;
  }

  /** The handshake is done: from now on the TLS socket stands for the connection. False when the connection has just been ended. */
  handshakeDone(socket: TcpSocket, secure: SecureSocket): boolean {
    const pending = this.#pending(socket);
    if (pending === undefined) return false;
    pending.stage = 'secure';
    pending.secure = secure;
    this.#bySocket.set(secure, pending);
    this.#arm(pending);
    return true;
  }

  /** The connection has authenticated: it no longer counts and may stay. */
  authenticated(socket: object): void {
    const pending = this.#pending(socket);
    if (pending !== undefined) this.#release(pending);
  }

  /** Whether the connection has not authenticated yet. */
  has(socket: object): boolean {
    return this.#pending(socket) !== undefined;
  }

  /** How many there are now. */
  get size(): number {
    return this.#all.size;
  }

  /** Connections closed to make room for others, since the start. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Ends them all, when the hub stops. */
  destroyAll(): void {
    for (const pending of [...this.#all]) this.#end(pending);
  }

  #pending(socket: object): Pending | undefined {
    const pending = this.#bySocket.get(socket);
    return pending !== undefined && this.#all.has(pending) ? pending : undefined;
  }

  #join(pending: Pending, group: string | undefined): void {
    if (group === undefined) return;
    const members = this.#groups.get(group) ?? new Set();
    this.#groups.set(group, members.add(pending));
  }

  #makeRoom(group: string | undefined): boolean {
    if (group !== undefined && !this.#makeRoomIn(group)) return false;
    return this.#all.size < this.#limits.maxTotal || this.#evict(this.#all);
  }

  #makeRoomIn(group: string): boolean {
    const members = this.#groups.get(group);
    return members === undefined || members.size < this.#limits.maxPerAddress || this.#evict(members);
  }

  /** Closes the one of these that is the first to go; false when all of them may stay. */
  #evict(members: ReadonlySet<Pending>): boolean {
    const idleSince = this.#clock.now() - IDLE_MS;
    let idle: Pending | undefined;
    let unfinished: Pending | undefined;
    for (const pending of members) {
      if (pending.stage !== 'secure') {
        unfinished = pending;
        break;
      }
      if (pending.since <= idleSince) idle ??= pending;
    }
    const victim = unfinished !== undefined && unfinished.since <= idleSince ? unfinished : (idle ?? unfinished);
    if (victim === undefined) return false;
    this.#evicted++;
    this.#end(victim);
    return true;
  }

  #arm(pending: Pending): void {
    const { helloMs, authenticateMs, handshakeBytes } = this.#limits;
    pending.timer?.cancel();
    const age = this.#clock.now() - pending.since;
    const left = (pending.stage === 'hello' ? Math.min(helloMs, authenticateMs) : authenticateMs) - age;
    const wait = pending.stage === 'handshake' ? Math.min(left, LOOK_MS) : left;
    pending.timer = this.#clock.setTimer(Math.max(0, wait), () => {
      const sentTooMuch = pending.stage === 'handshake' && (pending.socket.bytesRead ?? 0) > handshakeBytes;
      if (wait >= left || sentTooMuch) this.#end(pending);
      else this.#arm(pending);
    });
  }

  #end(pending: Pending): void {
    this.#release(pending);
    const { socket } = pending;
    destroyConnection(pending.secure ?? socket);
  }

  #release(pending: Pending): void {
    if (!this.#all.delete(pending)) return;
    pending.timer?.cancel();
    const { group } = pending;
    const members = group === undefined ? undefined : this.#groups.get(group);
    if (group === undefined || members === undefined) return;
    members.delete(pending);
    if (members.size === 0) this.#groups.delete(group);
  }
}
