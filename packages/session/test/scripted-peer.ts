import { createHmac } from 'node:crypto';
import { Budget } from '../src/core/budget.ts';
import type { DeviceSessions, LinkOffer } from '../src/core/device-sessions.ts';
import { encodeFrame, encodeUint64, FRAME, HEADER_BYTES, UNCOUNTED_BIT, writeUint32 } from '../src/core/frame.ts';
import { FrameReader, joinPieces } from '../src/core/frame-reader.ts';
import { encodeHello, type Hello, parseHello, proofInput, withoutSecret } from '../src/core/hello.ts';
import { ServiceSession, type ServiceSessionOptions } from '../src/core/service-session.ts';
import type { SessionEnd } from '../src/core/session-core.ts';
import { Wire, type WireOptions, type World } from './virtual-world.ts';

export interface ReceivedFrame {
  readonly type: number;
  readonly id: number;
  readonly payload: Uint8Array;
  /** Virtual time. */
  readonly at: number;
}

/** One end of a wire whose frames the test writes itself, and that keeps what it receives. */
export class ScriptedLink {
  readonly wire: Wire;
  readonly frames: ReceivedFrame[] = [];
  isClosed = false;
  /** Offset after the last counted frame, from the `received` of this end's HELLO on. */
  received = 0;
  /** Whether everything counted is acknowledged as it arrives. */
  acknowledges = true;
  onFrame: ((frame: ReceivedFrame) => void) | undefined;
  ownHello: Uint8Array = new Uint8Array(0);
  readonly #index: 0 | 1;

  constructor(world: World, wire: Wire, index: 0 | 1) {
    this.wire = wire;
    this.#index = index;
    const reader = new FrameReader((type, id, length, pieces) => {
      const frame = { type, id, payload: joinPieces(length, pieces).slice(), at: world.now };
      this.frames.push(frame);
      if ((type & UNCOUNTED_BIT) === 0) {
        this.received += HEADER_BYTES + length;
        if (this.acknowledges) this.send(FRAME.ack, 0, encodeUint64(this.received));
      }
      this.onFrame?.(frame);
    });
    wire.ends[index].link = {
      receive: (chunk) => void reader.push(chunk),
      lost: () => {
        this.isClosed = true;
      },
    };
  }

  write(bytes: Uint8Array): void {
    this.wire.ends[this.#index].write([bytes], () => undefined);
  }

  send(type: number, id: number, payload?: Uint8Array): void {
    this.write(encodeFrame(type, id, payload));
  }

  /** The frames of a type, of one connection or of all. */
  of(type: number, id?: number): ReceivedFrame[] {
    return this.frames.filter((frame) => frame.type === type && (id === undefined || frame.id === id));
  }

  /** The end of the link, as a loss. */
  lose(): void {
    this.wire.cut([0, 0]);
  }
}

/** What the service side of a session knows. */
export interface Identity {
  readonly id: Uint8Array;
  readonly secret: Uint8Array;
  readonly caller?: string;
}

export function identity(world: World, caller = 'policy:service'): Identity {
  const { random } = world.environment();
  return { id: random(16), secret: random(32), caller };
}

export interface ScriptedServiceOptions {
  readonly wire?: Partial<WireOptions>;
  /** What both ends derive from the link's TLS connection; default: none, the link is not encrypted. */
  readonly binding?: Uint8Array;
  readonly offer?: Partial<LinkOffer>;
  readonly hello?: Partial<Hello>;
  /** Sends a PROOF that is wrong. */
  readonly isFalse?: boolean;
  /** Sends no PROOF; the test calls `prove`. */
  readonly isSilent?: boolean;
}

/** A link to a device: link 1 when `number` is 1, else one that resumes, with PROOF as soon as the device's HELLO is there. */
export function scriptedService(
  world: World,
  device: DeviceSessions,
  who: Identity,
  number = 1,
  options: ScriptedServiceOptions = {},
): ScriptedLink & { prove(): void } {
  const wire = new Wire(world, { delayMs: 5, ...options.wire }, options.binding);
  const link = Object.assign(new ScriptedLink(world, wire, 0), { prove: (): void => undefined });
  const offer: LinkOffer = {
    sessionId: who.id,
    caller: who.caller ?? 'policy:service',
    mayOpen: () => true,
    ...options.offer,
  };
  wire.ends[1].link = device.accept(wire.ends[1], offer);
  link.received = options.hello?.received ?? 0;
  link.ownHello = encodeHello({
    lowest: 1,
    highest: 1,
    sessionId: who.id,
    link: number,
    nonce: world.environment().random(16),
    received: 0,
    retentionSeconds: 900,
    first: number === 1 ? { secret: who.secret, deviceId: 'press-7', moduleId: '' } : undefined,
    ...options.hello,
  });
  link.onFrame = ({ type, payload }) => {
    if (type !== FRAME.hello || number === 1) return;
    link.prove = () => {
      const mac = hmac(who.secret, proofInput('service', link.ownHello, encodeFrame(FRAME.hello, 0, payload), EMPTY));
      if (options.isFalse === true) mac[0] = (mac[0] as number) ^ 1;
      link.send(FRAME.proof, 0, mac);
    };
    if (options.isSilent !== true) link.prove();
  };
  link.write(link.ownHello);
  return link;
}

export interface ScriptedDeviceOptions {
  readonly wire?: Partial<WireOptions>;
  /** What the device answers to HELLO; default: HELLO and PROOF. */
  readonly answer?: (link: ScriptedLink, number: number, serviceHello: Uint8Array) => void;
  readonly session?: Partial<ServiceSessionOptions>;
}

/** A service session whose links are answered by the test. */
export class ScriptedDevice {
  readonly session: ServiceSession;
  readonly links: ScriptedLink[] = [];
  readonly refusedLinks: string[] = [];
  end: SessionEnd | undefined;
  unopened = 0;
  secret: Uint8Array = EMPTY;

  constructor(world: World, options: ScriptedDeviceOptions = {}) {
    this.session = new ServiceSession({
      environment: world.environment(),
      budget: new Budget(67_108_864),
      deviceId: 'press-7',
      moduleId: '',
      dial: (session) => {
        const wire = new Wire(world, { delayMs: 5, ...options.wire });
        const link = new ScriptedLink(world, wire, 1);
        this.links.push(link);
        link.onFrame = ({ type, payload }) => {
          if (type !== FRAME.hello) return;
          const hello = encodeFrame(FRAME.hello, 0, payload);
          this.secret = parseHello(payload, 'service')?.first?.secret ?? this.secret;
          const number = this.links.indexOf(link) + 1;
          if (options.answer !== undefined) options.answer(link, number, hello);
          else this.answer(world, link, number, hello);
        };
        world.setTimer(5, () => {
          wire.ends[0].link = session.linkReady(wire.ends[0]);
        });
      },
      events: {
        linkRefused: (text) => this.refusedLinks.push(text),
        closed: (end, unopened) => {
          this.end = end;
          this.unopened = unopened.length;
        },
      },
      ...options.session,
    });
    this.session.start();
  }

  get link(): ScriptedLink {
    return this.links.at(-1) as ScriptedLink;
  }

  /** HELLO and PROOF, as a device sends them. */
  answer(world: World, link: ScriptedLink, number: number, serviceHello: Uint8Array, over: Partial<Hello> = {}): void {
    link.received = over.received ?? this.links[number - 2]?.received ?? 0;
    link.ownHello = encodeHello({
      lowest: 1,
      highest: 1,
      sessionId: this.session.id,
      link: number,
      nonce: world.environment().random(16),
      received: link.received,
      retentionSeconds: 900,
      ...over,
    });
    link.write(link.ownHello);
    const input = proofInput('device', withoutSecret(serviceHello, number === 1), link.ownHello, EMPTY);
    link.send(FRAME.proof, 0, hmac(this.secret, input));
  }
}

/** The payload of OPEN. */
export function openPayload(service: string, limit = 262_144): Uint8Array {
  const name = new TextEncoder().encode(service);
  const payload = new Uint8Array(4 + name.length);
  writeUint32(payload, 0, limit);
  payload.set(name, 4);
  return payload;
}

/** The payload of BYE without a text. @param highestId the highest connection id of an OPEN that has arrived */
export function byePayload(reason: number, highestId = 0): Uint8Array {
  const payload = new Uint8Array(5);
  payload[0] = reason;
  writeUint32(payload, 1, highestId);
  return payload;
}

function hmac(secret: Uint8Array, input: Uint8Array): Buffer {
  return createHmac('sha256', secret).update(input).digest();
}

const EMPTY = new Uint8Array(0);
