import { Budget } from '../src/core/budget.ts';
import type { ConnectionEvents, SessionConnection } from '../src/core/connection.ts';
import { DeviceSessions, type LinkOffer } from '../src/core/device-sessions.ts';
import type { ConnectionReason } from '../src/core/frame.ts';
import { ServiceSession } from '../src/core/service-session.ts';
import type { SessionEnd } from '../src/core/session-core.ts';
import { Wire, type WireOptions, type World } from './virtual-world.ts';

/** The byte at `index` of what one end of a connection sends. */
export function patternByte(connection: number, side: number, index: number): number {
  return (index * 31 + (index >>> 8) * 7 + connection * 17 + side * 101) & 0xff;
}

/** A program at one end of a connection: sends a pattern in pieces, ends, and checks what it receives. */
export class Program implements ConnectionEvents {
  readonly #world: World;
  readonly #number: number;
  readonly #side: 0 | 1;
  readonly #toSend: number;
  readonly #readsSlowly: boolean;
  connection: SessionConnection | undefined;
  sent = 0;
  received = 0;
  isOpened = false;
  hasEnded = false;
  peerEnded = false;
  finishedCount = 0;
  abortion: { reason: ConnectionReason; text: string; isRefusal: boolean } | undefined;
  /** What went wrong, if anything. */
  fault: string | undefined;
  #isBlocked = false;
  #unread = 0;
  /** Sends nothing more, and does not end. */
  isStalled = false;
  /** Reads nothing. */
  isDeaf = false;
  /** The session ended before a device had taken anything of it; another session may take the program. */
  hasMoved = false;
  /** Called when bytes arrive. */
  onData: ((bytes: Uint8Array) => void) | undefined;

  constructor(world: World, number: number, side: 0 | 1, toSend: number, readsSlowly = false) {
    this.#world = world;
    this.#number = number;
    this.#side = side;
    this.#toSend = toSend;
    this.#readsSlowly = readsSlowly;
  }

  start(connection: SessionConnection): void {
    this.connection = connection;
    this.#sendMore();
  }

  #sendMore(): void {
    const { connection } = this;
    if (connection === undefined || this.hasEnded || this.abortion !== undefined || this.#isBlocked || this.isStalled)
      return;
    if (this.sent === this.#toSend) {
      this.hasEnded = true;
      connection.end();
      return;
    }
    const length = Math.min(this.#toSend - this.sent, this.#world.random.between(1, 40_000));
    const bytes = new Uint8Array(length);
    for (let index = 0; index < length; index++)
      bytes[index] = patternByte(this.#number, this.#side, this.sent + index);
    this.sent += length;
    this.#isBlocked = !connection.write(bytes);
    if (!this.#isBlocked)
      this.#world.setTimer(this.#world.random.chance(0.2) ? this.#world.random.between(0, 300) : 0, () =>
        this.#sendMore(),
      );
  }

  opened(): void {
    if (this.isOpened) this.fault ??= 'opened twice';
    this.isOpened = true;
  }

  data(bytes: Uint8Array): void {
    if (this.peerEnded) this.fault ??= 'data after the end';
    if (this.abortion !== undefined) this.fault ??= 'data after the abortion';
    const other = this.#side === 0 ? 1 : 0;
    for (let index = 0; index < bytes.length; index++) {
      if (bytes[index] !== patternByte(this.#number, other, this.received + index)) {
        this.fault ??= `wrong byte at ${this.received + index}`;
        break;
      }
    }
    this.received += bytes.length;
    this.onData?.(bytes);
    if (this.isDeaf) this.#unread += bytes.length;
    else if (this.#readsSlowly)
      this.#world.setTimer(this.#world.random.between(0, 50), () => this.connection?.consumed(bytes.length));
    else this.connection?.consumed(bytes.length);
  }

  /** Reads again. */
  listen(): void {
    this.isDeaf = false;
    this.connection?.consumed(this.#unread);
    this.#unread = 0;
  }

  ended(): void {
    if (this.peerEnded) this.fault ??= 'ended twice';
    this.peerEnded = true;
  }

  drained(): void {
    if (!this.#isBlocked) this.fault ??= 'drained without need';
    this.#isBlocked = false;
    this.#sendMore();
  }

  aborted(reason: ConnectionReason, text: string, isRefusal: boolean): void {
    if (this.abortion !== undefined || this.finishedCount > 0) this.fault ??= 'aborted after the end';
    this.abortion = { reason, text, isRefusal };
  }

  finished(): void {
    this.finishedCount++;
    if (this.finishedCount > 1 || this.abortion !== undefined) this.fault ??= 'finished twice';
  }

  get isOver(): boolean {
    return this.finishedCount > 0 || this.abortion !== undefined || this.hasMoved;
  }
}

export interface PairOptions {
  readonly wire?: Partial<WireOptions>;
  readonly isEncrypted?: boolean;
  readonly retentionSeconds?: number;
  readonly idleMs?: number;
  readonly maxSessions?: number;
  readonly budgetBytes?: number;
  /** Milliseconds that an HMAC takes at both ends; default: it is there at once. */
  readonly hmacMs?: number;
  /** What the device answers to OPEN; default: accepts after a while. */
  readonly target?: (connection: SessionConnection, program: Program) => void;
  /** Bytes that the device's program of each connection sends. */
  readonly answerBytes?: (service: string) => number;
}

/** A service session and a device in a virtual world. */
export class Pair {
  readonly world: World;
  readonly session: ServiceSession;
  device: DeviceSessions;
  readonly wires: Wire[] = [];
  readonly servicePrograms: Program[] = [];
  readonly devicePrograms: Program[] = [];
  serviceEnd: SessionEnd | undefined;
  deviceEnd: SessionEnd | undefined;
  untouched = 0;
  /** Connections that are to go to another session. */
  readonly unopened: SessionConnection[] = [];
  /** Connections that the device refuses because it drains are put there too. */
  takesTurnedAway = false;
  readonly refusedLinks: string[] = [];
  linksLost = 0;
  linksProven = 0;
  /** Dialled links are not made while false; dialling fails. */
  isReachable = true;
  services: ((service: string) => boolean) | undefined;
  readonly #options: PairOptions;
  readonly serviceBudget = new Budget(67_108_864);

  constructor(world: World, options: PairOptions = {}) {
    this.world = world;
    this.#options = options;
    this.device = this.#createDevice();
    this.session = new ServiceSession({
      environment: world.environment(options.hmacMs),
      budget: this.serviceBudget,
      deviceId: 'press-7',
      moduleId: '',
      retentionSeconds: options.retentionSeconds,
      idleMs: options.idleMs,
      dial: (session) => this.#dial(session),
      events: {
        turnedAway: (connection) => {
          if (this.takesTurnedAway) this.unopened.push(connection);
          return this.takesTurnedAway;
        },
        linkLost: () => this.linksLost++,
        linkProven: () => this.linksProven++,
        linkRefused: (text) => this.refusedLinks.push(`service: ${text}`),
        closed: (end, untouched) => {
          this.serviceEnd = end;
          this.untouched = untouched.length;
          this.unopened.push(...untouched);
          for (const { events } of untouched) if (events instanceof Program) events.hasMoved = true;
        },
      },
    });
  }

  get wire(): Wire {
    return this.wires.at(-1) as Wire;
  }

  #createDevice(): DeviceSessions {
    const device: DeviceSessions = new DeviceSessions({
      environment: this.world.environment(this.#options.hmacMs),
      deviceId: 'press-7',
      moduleId: '',
      retentionSeconds: this.#options.retentionSeconds,
      maxSessions: this.#options.maxSessions,
      budgetBytes: this.#options.budgetBytes,
      linkRefused: (text) => this.refusedLinks.push(`device: ${text}`),
      closed: (_session, end) => {
        // A session after that one is a stranger's, who repeats the first HELLO of the one that is over.
        if (device === this.device) this.deviceEnd ??= end;
      },
      opened: (connection) => this.#opened(connection),
    });
    return device;
  }

  #opened(connection: SessionConnection): void {
    const number = (connection.id - 1) / 2;
    const bytes = this.#options.answerBytes?.(connection.service) ?? this.world.random.between(0, 60_000);
    const program = new Program(this.world, number, 1, bytes, this.world.random.chance(0.3));
    program.connection = connection;
    connection.events = program;
    this.devicePrograms[number] = program;
    if (this.#options.target !== undefined) this.#options.target(connection, program);
    else {
      this.world.setTimer(this.world.random.between(0, 30), () => {
        if (connection.isOver) return;
        connection.accept();
        program.start(connection);
      });
    }
  }

  /** The device's process ends and is started again: it knows nothing any more. */
  restartDevice(): void {
    for (const wire of this.wires) wire.cut([this.world.random.between(0, 200), 0]);
    const former = this.device;
    this.device = this.#createDevice();
    // Nothing of this reaches the service side: the links carry nothing any more.
    former.close('The process has ended.');
  }

  open(service: string, bytes: number, readsSlowly = false): Program {
    const program = new Program(this.world, this.servicePrograms.length, 0, bytes, readsSlowly);
    this.servicePrograms.push(program);
    const connection = this.session.open(service, program);
    if (connection === undefined) throw new Error('The session opens no connection.');
    program.start(connection);
    return program;
  }

  offer(sessionId: Uint8Array = this.session.id): LinkOffer {
    return {
      sessionId,
      caller: 'policy:service',
      mayOpen: this.services ?? (() => true),
      idleMs: this.#options.idleMs,
    };
  }

  /** A new wire whose device end is given to the device; the service end is the caller's. */
  connect(offer: LinkOffer = this.offer()): Wire {
    const binding = this.#options.isEncrypted === true ? this.world.environment().random(32) : new Uint8Array(0);
    const wire = new Wire(this.world, { delayMs: 10, splits: true, ...this.#options.wire }, binding);
    this.wires.push(wire);
    const end = wire.ends[1];
    end.link = this.device.accept(end, offer);
    return wire;
  }

  #dial(session: ServiceSession): void {
    this.world.setTimer(this.world.random.between(5, 60), () => {
      if (!this.isReachable) {
        session.dialFailed({});
        return;
      }
      const wire = this.connect();
      const end = wire.ends[0];
      // `linkReady` writes HELLO at once; nothing can come back before.
      end.link = session.linkReady(end);
    });
  }
}
