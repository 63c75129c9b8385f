import { type KeyObject, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  CLOSE_CAUSES,
  type CloseCause,
  CulvertError,
  peerAddress,
  printable,
  STREAM_SUBPROTOCOL,
} from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import { type Clock, stateKeepAlive } from '@culvert/stream';
import { BufferPool } from './buffer-pool.ts';
import { FrameRelay } from './frame-relay.ts';
import type { GatewayControl } from './gateway-control.ts';
import type { GatewayEvent, StreamCounters } from './gateway-events.ts';
import { GATEWAY_LIMITS, type GatewayLimits } from './gateway-limits.ts';
import { lingeringClose } from './lingering-close.ts';
import { ReadScheduler } from './read-scheduler.ts';
import { refusal } from './refusal.ts';
import { RelayPeer } from './relay-peer.ts';
import { type Departure, Rendezvous } from './rendezvous.ts';
import { acceptance, parseUpgrade, type UpgradeRequest, verifyUpgrade } from './upgrade.ts';
import { UsedGrants } from './used-grants.ts';

/** Bytes of randomness in a boot id. */
const BOOT_ID_BYTES = 16;

/** A client whose upgrade request was parsed and whose grant was verified. */
export interface Arrival {
  readonly upgrade: UpgradeRequest;
  readonly claims: GrantClaims;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly remoteAddress: string;
}

/** Used when the gateway has several threads, so that the two sides of a stream may connect to different threads. */
export interface Steering {
  /**
   * Finds the thread that owns the stream of a grant.
   * @returns the function that forwards the client to that thread; undefined when this thread owns the stream
   * @throws CulvertError when no thread accepts the grant
   */
  findOwner(claims: GrantClaims): Promise<((arrival: Arrival) => void) | undefined>;
  /** Reports that a client of a stream that this thread owns was refused after {@link findOwner}. */
  unregistered(streamId: string): void;
  /** Six counters for a stream that this thread relays: bytes, messages and counted bytes from the service, then the same from the device. */
  counters(streamId: string): Float64Array;
}

export interface GatewayOptions {
  /** The public key (Ed25519) of the hub that signs the grants. */
  readonly grantKey: KeyObject;
  readonly clock: Clock;
  /** Receives all events of the gateway. Must neither throw nor block. */
  readonly onEvent: (event: GatewayEvent) => void;
  readonly limits?: Partial<GatewayLimits>;
  /**
   * Whether to read by 'data' events into ordinary buffers and to unmask in JavaScript, which is slower and otherwise the same. This is also the
   * fallback when Node's internal fields, WebAssembly or memory for it are not available. Default false; if true, no event reports it.
   */
  readonly plain?: boolean;
  /** Default: a new boot id. All threads of one gateway are given the same one. */
  readonly bootId?: string;
  readonly steering?: Steering;
}

/** A new boot id. */
export function newBootId(): string {
  return randomBytes(BOOT_ID_BYTES).toString('base64url');
}

/**
 * The streaming endpoint: accepts WebSocket upgrades with a valid grant, joins the two sides of a stream, and relays their frames. It uses no
 * information other than grants. Its owner provides the HTTPS server.
 */
export class Gateway implements GatewayControl {
  readonly bootId: string;
  /** Schedules the reads of all connections of this thread, including those forwarded to other threads. */
  readonly readScheduler = new ReadScheduler();

  readonly #grantKey: KeyObject;
  readonly #clock: Clock;
  readonly #emit: (event: GatewayEvent) => void;
  readonly #limits: GatewayLimits;
  readonly #memory: BufferPool | undefined;
  readonly #usedGrants: UsedGrants;
  readonly #rendezvous: Rendezvous;
  readonly #steering: Steering | undefined;
  readonly #relays = new Map<string, FrameRelay>();
  /** Streams that {@link end} has ended and whose connections are not closed yet. */
  readonly #ending = new Set<string>();
  /** All connections that are not closed, including refused ones. */
  readonly #sockets = new Set<Duplex>();
  #draining = false;

  constructor(options: GatewayOptions) {
    this.bootId = options.bootId ?? newBootId();
    this.#steering = options.steering;
    this.#grantKey = options.grantKey;
    this.#clock = options.clock;
    this.#emit = options.onEvent;
    this.#limits = { ...GATEWAY_LIMITS, ...options.limits };
    this.#memory = options.plain === true ? undefined : BufferPool.ofThread;
    this.#usedGrants = new UsedGrants(options.clock);
    this.#rendezvous = new Rendezvous(options.clock, (departure) => this.#onDeparture(departure));
    const problem = options.plain === true ? undefined : BufferPool.problem;
    if (problem !== undefined) this.#emit({ type: 'gateway-without-webassembly', problem });
  }

  get waitingConnections(): number {
    return this.#rendezvous.size;
  }

  get streams(): number {
    return this.#relays.size;
  }

  /** Bytes buffered for streams and waiting connections, including Node's own socket buffers. The gateway's memory limits apply to this number. */
  get bufferedBytes(): number {
    let sum = this.#rendezvous.bufferedBytes;
    for (const { device, service } of this.#relays.values()) sum += device.bufferedBytes + service.bufferedBytes;
    return sum;
  }

  counters(streamId: string): StreamCounters | undefined {
    const relay = this.#relays.get(streamId);
    return relay === undefined ? undefined : streamCounters(relay);
  }

  /**
   * Accepts an upgrade request, or refuses it with a plain HTTP response. Never rejects.
   * @param head bytes already read from the socket after the request
   * @returns whether the grant was verified and the upgrade accepted
   */
  async handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<boolean> {
    this.#track(socket);
    const remoteAddress = peerAddress(request.socket);
    try {
      if (this.#draining) throw new CulvertError('draining');
      const upgrade = parseUpgrade(request);
      const expected = { key: this.#grantKey, audience: this.bootId, now: this.#clock.now() };
      const claims = await verifyUpgrade(upgrade, expected);
      const arrival = { upgrade, claims, socket, head, remoteAddress };
      const forward = this.#steering === undefined ? undefined : await this.#steering.findOwner(claims);
      if (forward === undefined) return this.#accept(arrival);
      this.#prepare(socket, upgrade);
      forward(arrival);
      return true;
    } catch (error) {
      this.#refuse(socket, remoteAddress, CulvertError.from(error));
      return false;
    }
  }

  /** Accepts or refuses a client that another thread forwarded. */
  receive(arrival: Arrival): void {
    this.#track(arrival.socket);
    this.#accept(arrival);
  }

  /** @param cause the close cause to record; default: the cause for the error's code */
  end(streamId: string, error: CulvertError, cause?: CloseCause): boolean {
    const relay = this.#relays.get(streamId);
    if (relay !== undefined) {
      this.#ending.add(streamId);
      relay.end(error, cause);
      return true;
    }
    this.#usedGrants.bar(streamId, error);
    return this.#rendezvous.reject(streamId, error, cause);
  }

  async close(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#rendezvous.rejectAll(new CulvertError('draining'));
    const graceTimer = this.#clock.setTimer(graceMs, () => {
      for (const relay of this.#relays.values()) relay.end(new CulvertError('draining'));
    });
    await this.#allClosed();
    graceTimer.cancel();
    this.#usedGrants.clear();
  }

  destroy(): void {
    this.#draining = true;
    this.#rendezvous.destroy();
    for (const relay of this.#relays.values()) relay.destroy();
    for (const socket of this.#sockets) socket.destroy();
    this.#usedGrants.clear();
  }

  #admit(claims: GrantClaims): void {
    // Draining may have begun while the grant was verified.
    if (this.#draining) throw new CulvertError('draining');
    this.#usedGrants.check(claims);
    const first = !this.#rendezvous.has(claims.streamId);
    if (
      first &&
      (this.waitingConnections >= this.#limits.maxWaiting ||
        // A stream that was ended to make room has gone, though the goodbye of a lost connection takes seconds.
        this.waitingConnections + this.streams - this.#ending.size >= this.#limits.maxStreams)
    ) {
      throw new CulvertError('too_many_requests', 'The gateway carries as many streams as it may.');
    }
    this.#usedGrants.use(claims);
  }

  #track(socket: Duplex): void {
    // Errors need no handling, because 'close' follows each of them and is handled.
    socket.on('error', () => undefined);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #prepare(socket: Duplex, upgrade: UpgradeRequest): void {
    // A client may send FIN after its close frame and still read; RelayPeer ends the gateway's side of the connection.
    socket.allowHalfOpen = true;
    if (!(socket instanceof Socket)) return;
    socket.setTimeout(0);
    socket.setNoDelay(true);
    stateKeepAlive(socket, supportsPings(upgrade) ? 'pinged' : 'unpinged');
  }

  #accept(arrival: Arrival): boolean {
    try {
      this.#admit(arrival.claims);
    } catch (error) {
      this.#steering?.unregistered(arrival.claims.streamId);
      this.#refuse(arrival.socket, arrival.remoteAddress, CulvertError.from(error));
      return false;
    }
    this.#register(arrival);
    return true;
  }

  #register({ upgrade, claims: { streamId, side, expiresAt }, socket, head, remoteAddress }: Arrival): void {
    this.#prepare(socket, upgrade);
    socket.write(acceptance(upgrade));
    const options = {
      side,
      remoteAddress,
      isV1: upgrade.subprotocol === STREAM_SUBPROTOCOL,
      clock: this.#clock,
      limits: this.#limits,
      memory: this.#memory,
      readScheduler: this.readScheduler,
    };
    const end = new RelayPeer(socket, head, options, this.#rendezvous.listener(streamId));
    this.#emit({ type: 'connection-waiting', streamId, side, remoteAddress });
    const other = this.#rendezvous.take(streamId);
    if (other === undefined) this.#rendezvous.wait(streamId, end, expiresAt);
    else this.#join(streamId, side === 'device' ? end : other, side === 'device' ? other : end);
  }

  #join(streamId: string, device: RelayPeer, service: RelayPeer): void {
    const since = this.#clock.now();
    const shared = this.#steering?.counters(streamId);
    service.countIn(shared?.subarray(0, 3));
    device.countIn(shared?.subarray(3, 6));
    this.#emit({
      type: 'stream-established',
      streamId,
      deviceAddress: device.remoteAddress,
      serviceAddress: service.remoteAddress,
    });
    const relay = new FrameRelay(device, service, { clock: this.#clock, ...this.#limits });
    this.#relays.set(streamId, relay);
    void relay.closed.then((cause) => {
      this.#relays.delete(streamId);
      this.#ending.delete(streamId);
      this.#emit({
        type: 'stream-closed',
        streamId,
        cause,
        error: relay.endedWith?.code,
        detail: relay.endedWith?.message ?? closeDetail(relay, cause),
        established: true,
        durationMs: this.#clock.now() - since,
        ...streamCounters(relay),
      });
    });
  }

  #onDeparture({ streamId, peer, cause, error, waitedMs }: Departure): void {
    // The grant of the side that left is used, so the two sides can never be paired. The other side is refused when it connects and need not wait.
    this.#usedGrants.bar(streamId, new CulvertError('withdrawn', 'The other side left before the stream was joined.'));
    const sent = { bytes: peer.bytes, messages: peer.messages };
    const nothing = { bytes: 0, messages: 0 };
    this.#emit({
      type: 'stream-closed',
      streamId,
      cause,
      error: error?.code,
      detail: error?.message,
      established: false,
      durationMs: waitedMs,
      fromService: peer.side === 'service' ? sent : nothing,
      fromDevice: peer.side === 'device' ? sent : nothing,
      countedBytes: peer.countedBytes,
    });
  }

  #refuse(socket: Duplex, remoteAddress: string, error: CulvertError): void {
    this.#emit({ type: 'grant-refused', remoteAddress, error: error.code, detail: error.message });
    if (socket.writable) socket.write(refusal(error));
    lingeringClose(socket, this.#clock, this.#limits.lingerMs, 'now');
  }

  async #allClosed(): Promise<void> {
    // Sockets in the set have not emitted 'close' yet, although `socket.closed` may already be true.
    for (const socket of this.#sockets) await new Promise((resolve) => socket.once('close', resolve));
    for (const relay of this.#relays.values()) await relay.closed;
  }
}

/** Whether the client answers pings: it does if it offers Culvert's subprotocol (docs/protocol: pings). */
function supportsPings({ subprotocol }: UpgradeRequest): boolean {
  return subprotocol === STREAM_SUBPROTOCOL;
}

/** The detail of a stream that a side ended with a close code other than 1000: that code and the reason; undefined for other ends. */
function closeDetail({ device, service }: FrameRelay, cause: CloseCause): string | undefined {
  const status = cause === 'ended_by_device' ? device.ended : cause === 'ended_by_service' ? service.ended : undefined;
  if (status === undefined || status.code === 1000) return undefined;
  return printable(`${CLOSE_CAUSES[cause]} Its close frame: ${status.code} ${status.reason}`.trimEnd());
}

function streamCounters({ service, device }: FrameRelay): StreamCounters {
  return {
    fromService: { bytes: service.bytes, messages: service.messages },
    fromDevice: { bytes: device.bytes, messages: device.messages },
    countedBytes: service.countedBytes + device.countedBytes,
  };
}
