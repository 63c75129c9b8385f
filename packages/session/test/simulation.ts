import type { SessionConnection } from '../src/core/connection.ts';
import { CONNECTION_REASONS, encodeFrame, encodeUint64, FRAME } from '../src/core/frame.ts';
import { encodeHello } from '../src/core/hello.ts';
import { Pair, type Program } from './simulated-pair.ts';
import { type Random, Wire, World } from './virtual-world.ts';

/** Virtual time that a run may take. */
const MAX_MS = 3_600_000;
const SERVICE_BUDGET_BYTES = 67_108_864;

export interface Outcome {
  readonly fault: string | undefined;
  readonly links: number;
  readonly bytes: number;
  /** What happened in the run, beside the loss of links. */
  readonly features: readonly string[];
}

/** What may happen in a run. Each has a probability of its own, so that most runs have a few. */
interface Plan {
  readonly restarts: boolean;
  readonly expires: boolean;
  readonly strangers: boolean;
  readonly resets: boolean;
  readonly refuses: boolean;
  readonly stalls: boolean;
  readonly drains: boolean;
  readonly idles: boolean;
  readonly crowds: boolean;
  readonly slowHmac: boolean;
  readonly poor: boolean;
}

function plan(random: Random): Plan {
  return {
    restarts: random.chance(0.1),
    expires: random.chance(0.1),
    strangers: random.chance(0.25),
    resets: random.chance(0.25),
    refuses: random.chance(0.25),
    stalls: random.chance(0.2),
    drains: random.chance(0.1),
    idles: random.chance(0.05),
    crowds: random.chance(0.05),
    slowHmac: random.chance(0.2),
    poor: random.chance(0.2),
  };
}

/**
 * One random run: connections, links that are cut in every way at random times, and whatever its plan has. Each byte arrives once and in order or the
 * connection is aborted with a reason; an end comes after all bytes; nothing hangs; nothing is left. A connection that nobody has disturbed, in a
 * session that was not ended early, arrives whole.
 */
export function simulate(seed: number): Outcome {
  return new Simulation(seed).run();
}

class Simulation {
  readonly #world: World;
  readonly #random: Random;
  readonly #plan: Plan;
  readonly #pair: Pair;
  readonly #retentionSeconds: number;
  readonly #budgetBytes: number;
  /** Numbers of connections that a program or the target has ended early. */
  readonly #disturbed = new Set<number>();
  #opensLeft: number;
  #harmsLeft: number;
  #hasRestarted = false;
  #isOver = false;

  constructor(seed: number) {
    this.#world = new World(seed);
    const { random } = this.#world;
    this.#random = random;
    this.#plan = plan(random);
    this.#retentionSeconds = this.#plan.expires ? random.between(5, 60) : 900;
    this.#budgetBytes = this.#plan.poor ? random.between(0, 600_000) : 67_108_864;
    this.#opensLeft = this.#plan.crowds ? random.between(50, 300) : random.between(1, 6);
    this.#harmsLeft = random.between(0, 10);
    this.#pair = new Pair(this.#world, {
      wire: {
        delayMs: random.between(0, 60),
        rate: random.chance(0.4) ? random.between(20, 3_000) : undefined,
        splits: random.chance(0.7),
      },
      isEncrypted: random.chance(0.5),
      retentionSeconds: this.#retentionSeconds,
      budgetBytes: this.#budgetBytes,
      ...(this.#plan.idles ? { idleMs: random.between(5_000, 60_000) } : {}),
      ...(this.#plan.slowHmac ? { hmacMs: random.between(0, 80) } : {}),
      answerBytes: () => this.#size(),
      target: (connection, program) => this.#target(connection, program),
    });
  }

  run(): Outcome {
    this.#pair.session.start();
    const opens = this.#opensLeft;
    for (let index = 0; index < opens; index++) this.#world.setTimer(this.#random.between(0, 800), () => this.#open());
    if (this.#harmsLeft > 0) this.#harmLater();
    const hasEnded = this.#world.run(
      MAX_MS,
      () => this.#opensLeft === 0 && this.#programs().every(({ isOver }) => isOver),
    );
    const faults = this.#faults(hasEnded);
    if (faults.length === 0) faults.push(...this.#leftovers());
    return {
      fault: faults.length === 0 ? undefined : faults.slice(0, 5).join('; '),
      links: this.#pair.wires.length,
      bytes: this.#programs().reduce((sum, { received }) => sum + received, 0),
      features: Object.entries(this.#plan).flatMap(([name, isOn]) => (isOn === true ? [name] : [])),
    };
  }

  #programs(): Program[] {
    return [...this.#pair.servicePrograms, ...this.#pair.devicePrograms.filter(Boolean)];
  }

  #size(): number {
    const { crowds } = this.#plan;
    if (this.#random.chance(0.2)) return this.#random.between(0, 10);
    return this.#random.between(1, crowds ? 3_000 : this.#random.chance(0.1) ? 300_000 : 40_000);
  }

  // What programs do

  #open(): void {
    this.#opensLeft--;
    const { session } = this.#pair;
    if (!session.takesConnections) return;
    const program = this.#pair.open(`service-${this.#opensLeft}`, this.#size(), this.#random.chance(0.3));
    this.#disturb(program, this.#pair.servicePrograms.length - 1);
  }

  #disturb(program: Program, number: number): void {
    if (this.#plan.stalls && this.#random.chance(0.4)) {
      program.isDeaf = true;
      this.#world.setTimer(this.#random.between(100, 30_000), () => program.listen());
    }
    if (this.#plan.resets && this.#random.chance(0.3)) {
      this.#world.setTimer(this.#random.between(0, 3_000), () => {
        if (program.isOver) return;
        this.#disturbed.add(number);
        program.connection?.abort('reset');
        // A program that ends its own connection is told nothing.
        program.abortion ??= { reason: 'reset', text: '', isRefusal: false };
      });
    }
  }

  #target(connection: SessionConnection, program: Program): void {
    const number = (connection.id - 1) / 2;
    this.#disturb(program, number);
    const isSlow = this.#plan.refuses && this.#random.chance(0.2);
    const refuses = this.#plan.refuses && this.#random.chance(0.3);
    this.#world.setTimer(isSlow ? this.#random.between(1_000, 20_000) : this.#random.between(0, 30), () => {
      if (connection.isOver) return;
      if (refuses) {
        this.#disturbed.add(number);
        connection.refuse(this.#random.chance(0.5) ? 'refused' : 'timed_out', 'The target does not answer.');
        return;
      }
      connection.accept();
      program.start(connection);
    });
  }

  // What happens to links and ends

  #harmLater(): void {
    const ms = this.#random.chance(0.7) ? this.#random.between(1, 300) : this.#random.between(300, 20_000);
    this.#world.setTimer(ms, () => {
      if (this.#isOver) return;
      this.#harm();
      if (--this.#harmsLeft > 0) this.#harmLater();
    });
  }

  #harm(): void {
    const random = this.#random;
    const pair = this.#pair;
    const { restarts, expires, strangers, drains } = this.#plan;
    if (strangers && random.chance(0.5)) this.#stranger();
    if (restarts && random.chance(0.2)) {
      this.#hasRestarted = true;
      pair.restartDevice();
      return;
    }
    if (drains && random.chance(0.3)) {
      if (random.chance(0.5)) pair.device.drain();
      else pair.session.drain();
      return;
    }
    const wire = pair.wires.at(-1);
    if (wire === undefined) return;
    const kind = random.between(0, 5);
    if (kind === 0) wire.cut([random.between(0, 100), random.between(0, 100)]);
    else if (kind === 1) wire.cut([random.between(0, 40_000), random.between(0, 40_000)]);
    else if (kind === 2) wire.blackhole(random.chance(0.5) ? undefined : random.chance(0.5) ? 0 : 1);
    else if (kind === 3) wire.halfOpen(random.chance(0.5) ? 0 : 1, random.between(0, 45_000));
    else if (kind === 4) pair.session.replaceLink();
    else {
      pair.isReachable = false;
      wire.cut([random.between(0, 50), random.between(0, 50)]);
      this.#world.setTimer(random.between(100, expires ? 120_000 : 60_000), () => {
        pair.isReachable = true;
      });
    }
  }

  /** Somebody who knows the session's id and the hub's words, and not its secret. */
  #stranger(): void {
    const random = this.#random;
    const { session, device } = this.#pair;
    const wire = new Wire(
      this.#world,
      { delayMs: random.between(0, 30), splits: true },
      new Uint8Array(random.between(0, 1) * 32),
    );
    const [own, end] = wire.ends;
    own.link = { receive: () => undefined, lost: () => undefined };
    end.link = device.accept(end, {
      ...this.#pair.offer(),
      caller: random.chance(0.8) ? 'policy:service' : 'policy:other',
    });
    const { random: bytes } = this.#world.environment();
    const send = (frame: Uint8Array): void => own.write([frame], () => undefined);
    // Whoever comes first with a first link has a session of that id: a stranger does not know the id so early.
    const isKnown = device.size > 0 && this.#pair.linksProven > 0 && !this.#plan.restarts;
    const link = isKnown && random.chance(0.2) ? 1 : random.between(2, 30);
    const first = link === 1 ? { secret: bytes(32), deviceId: 'press-7', moduleId: '' } : undefined;
    const received = random.chance(0.5) ? 0 : random.between(0, 1_000_000);
    send(
      encodeHello({
        lowest: 1,
        highest: 1,
        sessionId: session.id,
        link,
        nonce: bytes(16),
        received,
        retentionSeconds: 1,
        first,
      }),
    );
    this.#world.setTimer(random.between(0, 100), () => {
      const kind = random.between(0, 3);
      if (kind === 0) send(encodeFrame(FRAME.proof, 0, bytes(32)));
      else if (kind === 1) send(encodeFrame(FRAME.ack, 0, encodeUint64(random.between(0, 100_000))));
      else if (kind === 2) send(encodeFrame(FRAME.bye, 0, new Uint8Array(5)));
      else send(bytes(random.between(1, 200)));
      this.#world.setTimer(random.between(0, 15_000), () => wire.cut([0, 0]));
    });
  }

  // What must hold

  #faults(hasEnded: boolean): string[] {
    const faults: string[] = [];
    const pair = this.#pair;
    if (!hasEnded) faults.push('not over');
    pair.servicePrograms.forEach((program, index) => {
      const peer = pair.devicePrograms[index];
      this.#check(faults, `service ${index}`, index, program, peer);
      if (peer !== undefined) this.#check(faults, `device ${index}`, index, peer, program);
    });
    const expected = this.#expectedEnds();
    for (const end of [pair.serviceEnd, pair.deviceEnd])
      if (end !== undefined && !expected.includes(end.reason))
        faults.push(`session: ${JSON.stringify([pair.serviceEnd, pair.deviceEnd])}`);
    return faults;
  }

  /** How the session may have ended in this run. */
  #expectedEnds(): string[] {
    const { restarts, expires, drains, idles } = this.#plan;
    const reasons = ['done'];
    // The first link was lost before HELLO arrived: the device knows nothing, and what was sent is not sent again to another session.
    if (restarts || this.#pair.devicePrograms.length === 0) reasons.push('unknown');
    if (expires) reasons.push('expired', 'unknown');
    if (drains) reasons.push('draining', 'unknown');
    // A BYE that is lost leaves the other end to its retention.
    if (idles) reasons.push('idle', 'unknown', 'expired');
    return reasons;
  }

  #check(faults: string[], name: string, number: number, program: Program, peer: Program | undefined): void {
    if (program.fault !== undefined) faults.push(`${name}: ${program.fault}`);
    if (program.abortion !== undefined && !(program.abortion.reason in CONNECTION_REASONS))
      faults.push(`${name}: no reason`);
    if (program.received > (peer?.sent ?? 0)) faults.push(`${name}: received more than was sent`);
    if (program.peerEnded && (peer?.hasEnded !== true || program.received !== peer.sent))
      faults.push(`${name}: an end after ${program.received} of ${peer?.sent}`);
    if (program.finishedCount > 0 && !(program.peerEnded && program.hasEnded)) faults.push(`${name}: finished early`);
    if (program.hasMoved && program.sent > 0 && peer !== undefined)
      faults.push(`${name}: moved although a device has taken it with what it had sent`);
    if (this.#mayEndEarly(number)) return;
    if (program.abortion !== undefined)
      faults.push(`${name}: aborted, ${program.abortion.reason} ${program.abortion.text}`);
    if (peer === undefined || program.received !== peer.sent)
      faults.push(`${name}: received ${program.received} of ${peer?.sent}`);
    if (!program.peerEnded) faults.push(`${name}: no end`);
  }

  #mayEndEarly(number: number): boolean {
    const isEnded = [this.#pair.serviceEnd, this.#pair.deviceEnd].some(
      (end) => end !== undefined && end.reason !== 'done',
    );
    return isEnded || this.#hasRestarted || this.#plan.drains || this.#disturbed.has(number);
  }

  /** Ends the session and waits until everybody has noticed: then nothing may be left of it. */
  #leftovers(): string[] {
    const { session, device, serviceBudget } = this.#pair;
    const faults: string[] = [];
    if (session.size > 0) faults.push(`${session.size} connections left at the service side`);
    if (device.connections > 0) faults.push(`${device.connections} connections left at the device`);
    this.#isOver = true;
    session.close('The run is over.');
    // Nobody asks whether a link is alive on which nothing is open: TCP, or the hub, notices in the end.
    this.#world.setTimer(60_000, () => {
      for (const wire of this.#pair.wires) wire.cut([0, 0]);
    });
    this.#world.run(this.#world.now + this.#retentionSeconds * 1_000 + 120_000);
    const left = {
      sessions: device.size,
      arriving: device.arriving,
      queued: session.queued,
      timers: this.#world.timers,
      'bytes of the service side': SERVICE_BUDGET_BYTES - serviceBudget.free,
      'bytes of the device': this.#budgetBytes - device.freeBytes,
    };
    for (const [what, count] of Object.entries(left)) if (count !== 0) faults.push(`${count} ${what} left`);
    return faults;
  }
}
