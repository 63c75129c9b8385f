import { LIMITS } from '@culvert/protocol';
import { type Clock, destroyConnection, type Timer } from '@culvert/stream';
import { addressGroup } from '../auth/address-group.ts';

/** The members of a TCP socket that are used here. */
interface TcpSocket {
  /** Bytes received from the peer. */
  readonly bytesRead?: number;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** The TLS socket above the TCP socket. */
interface SecureSocket {
  destroy(): unknown;
}

export interface UnauthenticatedLimits {
  /** Milliseconds within which a connection must send its PROXY header, where one is expected, and its whole ClientHello. */
  readonly helloMs: number;
  /** Milliseconds within which a connection must authenticate, `helloMs` included. */
  readonly authenticateMs: number;
  /** Maximum bytes that a client may send before its TLS handshake is complete. */
  readonly handshakeBytes: number;
  /** Maximum connections from one IPv4 address, or from one IPv6 /64. */
  readonly maxPerAddress: number;
  /** Maximum connections from all addresses together. */
  readonly maxTotal: number;
}

type Limits = Partial<UnauthenticatedLimits> & Pick<UnauthenticatedLimits, 'maxPerAddress' | 'maxTotal'>;

/** The state of a connection: before its whole ClientHello was received, during the TLS handshake, after it. */
type Stage = 'hello' | 'handshake' | 'secure';

interface Pending {
  readonly socket: TcpSocket;
  readonly since: number;
  stage: Stage;
  /** Set once the TLS handshake is complete. */
  secure: SecureSocket | undefined;
  /** The address group that the connection counts for; undefined until a load balancer's PROXY header has been read. */
  group: string | undefined;
  timer: Timer | undefined;
}

/** Milliseconds between two checks of the bytes that a connection has sent in its TLS handshake; OpenSSL itself keeps at most 128 KiB. */
const CHECK_MS = 1_000;

/** Milliseconds after which an unauthenticated connection is among the first to be closed for a new one: real clients need a few round trips. */
const IDLE_MS = 2_000;

/**
 * The connections that have not yet authenticated. Their number is limited for each address and in total, and each has a limited time. This limits the
 * memory that unauthenticated clients can take up, at every listener.
 *
 * When a limit is reached, a new connection replaces an existing one, so that silent connections do not lock out other clients of the same address. The
 * one replaced is the oldest whose TLS handshake is incomplete after {@link IDLE_MS}; if there is none, the oldest that has completed its handshake and
 * not authenticated after {@link IDLE_MS}; if there is none, the oldest whose handshake is incomplete. If there is none either, the new one is closed.
 */
export class UnauthenticatedConnections {
  readonly #clock: Clock;
  readonly #limits: UnauthenticatedLimits;
  /** Oldest first. */
  readonly #all = new Set<Pending>();
  readonly #groups = new Map<string, Set<Pending>>();
  /** Each connection by its TCP socket, and by the TLS socket above that. */
  readonly #bySocket = new WeakMap<object, Pending>();
  #evicted = 0;

  /** @param options the limits; a limit that is absent has the value of {@link LIMITS} */
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
   * Counts a new connection; returns false and destroys the connection when there is no room for it.
   * @param address the peer's address; undefined for a load balancer's connection until {@link readdress} is called; empty when the peer has already
   * disconnected
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

  /**
   * Counts a load balancer's connection for the client's address, which the PROXY header has named. Returns false and destroys the connection when there is
   * no room for it; returns false when the connection has already been ended.
   */
  readdress(socket: TcpSocket, address: string): boolean {
    const pending = this.#pending(socket);
    if (pending === undefined) return false;
    const group = addressGroup(address);
    // The connection is already included in the total, so only the limit of its address is checked.
    if (!this.#makeRoomIn(group)) {
      this.#end(pending);
      return false;
    }
    pending.group = group;
    this.#join(pending, group);
    return true;
  }

  /** Records that the ClientHello is complete and the handshake begins. Returns false when the connection has already been ended. */
  handshakeBegun(socket: TcpSocket): boolean {
    const pending = this.#pending(socket);
    if (pending === undefined) return false;
    pending.stage = 'handshake';
    this.#arm(pending);
    return true;
  }

  /** Records that the handshake is complete: from now on the connection is closed by its TLS socket. Returns false when it has already been ended. */
  handshakeDone(socket: TcpSocket, secure: SecureSocket): boolean {
    const pending = this.#pending(socket);
    if (pending === undefined) return false;
    pending.stage = 'secure';
    pending.secure = secure;
    this.#bySocket.set(secure, pending);
    this.#arm(pending);
    return true;
  }

  /** Records that the connection has authenticated: it is no longer counted or limited. */
  authenticated(socket: object): void {
    const pending = this.#pending(socket);
    if (pending !== undefined) this.#release(pending);
  }

  /** Whether the connection has not authenticated yet. */
  has(socket: object): boolean {
    return this.#pending(socket) !== undefined;
  }

  /** Number of unauthenticated connections now. */
  get size(): number {
    return this.#all.size;
  }

  /** Number of connections closed to make room for others, since the start. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Closes all unauthenticated connections, when the hub stops. */
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

  /** Closes the member that is to be replaced first; returns false when none may be replaced. */
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
    const wait = pending.stage === 'handshake' ? Math.min(left, CHECK_MS) : left;
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
