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

/** A client whose upgrade was read and whose grant was verified. */
export interface Arrival {
  readonly upgrade: UpgradeRequest;
  readonly claims: GrantClaims;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly remoteAddress: string;
}

/** What makes a gateway one of several threads, between which the two sides of a stream may be divided. */
export interface Steering {
  /**
   * Asks which thread owns the stream of a grant.
   * @returns the function that forwards the client to that thread; undefined when this thread owns the stream
   * @throws CulvertError when no thread accepts the grant
   */
  findOwner(claims: GrantClaims): Promise<((arrival: Arrival) => void) | undefined>;
  /** A client of a stream that this thread owns was refused after all. */
  unregistered(streamId: string): void;
  /** Six numbers for what a stream that this thread relays: bytes, messages and counted bytes from the service, then from the device. */
  counters(streamId: string): Float64Array;
}

export interface GatewayOptions {
  /** The public key (Ed25519) of the hub that signs the grants. */
  readonly grantKey: KeyObject;
  readonly clock: Clock;
  /** Told everything that happens here. Must neither throw nor block. */
  readonly onEvent: (event: GatewayEvent) => void;
  readonly limits?: Partial<GatewayLimits>;
  /**
   * Reads by 'data' events into ordinary buffers and unmasks in JavaScript, as it also does where Node's internals or WebAssembly are
   * not there, or no memory for it: slower, otherwise the same. Default false; true says nothing of it.
   */
  readonly plain?: boolean;
  /** Default: a new one. Given to each of several threads, which are one gateway. */
  readonly bootId?: string;
  readonly steering?: Steering;
}

/** A new boot id. */
export function newBootId(): string {
  return randomBytes(BOOT_ID_BYTES).toString('base64url');
}

/**
 * The streaming endpoint: takes WebSocket upgrades that bear a grant, joins the two sides of a stream, and moves their frames.
 * It knows nothing but grants; the HTTPS server is its owner's.
 */
export class Gateway implements GatewayControl {
  readonly bootId: string;
  /** Schedules reads of this thread, also of connections forwarded to other threads. */
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
  /** Every connection that is not closed, also those that are only being told why they end. */
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

  /** Bytes that streams and waiting connections keep here, sockets' own buffers in Node included: this is what the gateway's memory limits apply to. */
  get bufferedBytes(): number {
    let sum = this.#rendezvous.bufferedBytes;
    for (const { device, service } of this.#relays.values()) sum += device.bufferedBytes + service.bufferedBytes;
    return sum;
  }

  counters(streamId: string): StreamCounters | undefined {
    const relay = this.#relays.get(streamId);
    return relay === undefined ? undefined : carried(relay);
  }

  /**
   * Takes an upgrade request, or refuses it with a plain HTTP answer. Never rejects.
   * @param head what of the socket's stream was already read
   * @returns whether the grant was verified and the upgrade taken
   */
  async handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<boolean> {
    this.#keep(socket);
    const remoteAddress = peerAddress(request.socket);
    try {
      if (this.#draining) throw new CulvertError('draining');
      const upgrade = parseUpgrade(request);
      const expected = { key: this.#grantKey, audience: this.bootId, now: this.#clock.now() };
      const claims = await verifyUpgrade(upgrade, expected);
      const arrival = { upgrade, claims, socket, head, remoteAddress };
      const forward = this.#steering === undefined ? undefined : await this.#steering.findOwner(claims);
      if (forward === undefined) return this.#take(arrival);
      this.#prepare(socket, upgrade);
      forward(arrival);
      return true;
    } catch (error) {
      this.#refuse(socket, remoteAddress, CulvertError.from(error));
      return false;
    }
  }

  /** Takes a client that another thread handed over, or refuses it. */
  receive(arrival: Arrival): void {
    this.#keep(arrival.socket);
    this.#take(arrival);
  }

  /** @param cause what the record tells; default: what the error's code stands for */
  end(streamId: string, error: CulvertError, cause?: CloseCause): boolean {
    const relay = this.#relays.get(streamId);
    if (relay !== undefined) {
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
    // It may have begun to drain while the grant was verified.
    if (this.#draining) throw new CulvertError('draining');
    this.#usedGrants.check(claims);
    const first = !this.#rendezvous.has(claims.streamId);
    if (
      first &&
      (this.waitingConnections >= this.#limits.maxWaiting ||
        this.waitingConnections + this.streams >= this.#limits.maxStreams)
    ) {
      throw new CulvertError('too_many_requests', 'The gateway carries as many streams as it may.');
    }
    this.#usedGrants.use(claims);
  }

  #keep(socket: Duplex): void {
    // Whatever goes wrong with a socket, 'close' follows, and that is acted upon.
    socket.on('error', () => undefined);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #prepare(socket: Duplex, upgrade: UpgradeRequest): void {
    // A client may end its TCP with its close frame and still read; RelayPeer ends the gateway's side.
    socket.allowHalfOpen = true;
    if (!(socket instanceof Socket)) return;
    socket.setTimeout(0);
    socket.setNoDelay(true);
    stateKeepAlive(socket, copesWithPings(upgrade) ? 'pinged' : 'unpinged');
  }

  #take(arrival: Arrival): boolean {
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
      this.#emit({
        type: 'stream-closed',
        streamId,
        cause,
        error: relay.endedWith?.code,
        detail: relay.endedWith?.message ?? closeWords(relay, cause),
        established: true,
        durationMs: this.#clock.now() - since,
        ...carried(relay),
      });
    });
  }

  #onDeparture({ streamId, peer, cause, error, waitedMs }: Departure): void {
    // Its grant is used up, so the two sides can never be paired: the other side is told when it connects, rather than left to wait.
    this.#usedGrants.bar(streamId, new CulvertError('withdrawn', 'The other side left before the stream was joined.'));
    const said = { bytes: peer.bytes, messages: peer.messages };
    const nothing = { bytes: 0, messages: 0 };
    this.#emit({
      type: 'stream-closed',
      streamId,
      cause,
      error: error?.code,
      detail: error?.message,
      established: false,
      durationMs: waitedMs,
      fromService: peer.side === 'service' ? said : nothing,
      fromDevice: peer.side === 'device' ? said : nothing,
      countedBytes: peer.countedBytes,
    });
  }

  #refuse(socket: Duplex, remoteAddress: string, error: CulvertError): void {
    this.#emit({ type: 'grant-refused', remoteAddress, error: error.code, detail: error.message });
    if (socket.writable) socket.write(refusal(error));
    lingeringClose(socket, this.#clock, this.#limits.lingerMs, 'now');
  }

  async #allClosed(): Promise<void> {
    // Those in the set have not emitted 'close' yet (`socket.closed` is true a moment before).
    for (const socket of this.#sockets) await new Promise((resolve) => socket.once('close', resolve));
    for (const relay of this.#relays.values()) await relay.closed;
  }
}

/** A client that offers Culvert's subprotocol answers pings (docs/protocol: pings). */
function copesWithPings({ subprotocol }: UpgradeRequest): boolean {
  return subprotocol === STREAM_SUBPROTOCOL;
}

/** What a side said that ended the stream other than cleanly. */
function closeWords({ device, service }: FrameRelay, cause: CloseCause): string | undefined {
  const status = cause === 'ended_by_device' ? device.ended : cause === 'ended_by_service' ? service.ended : undefined;
  if (status === undefined || status.code === 1000) return undefined;
  return printable(`${CLOSE_CAUSES[cause]} It said ${status.code} ${status.reason}`.trimEnd());
}

function carried({ service, device }: FrameRelay): StreamCounters {
  return {
    fromService: { bytes: service.bytes, messages: service.messages },
    fromDevice: { bytes: device.bytes, messages: device.messages },
    countedBytes: service.countedBytes + device.countedBytes,
  };
}
