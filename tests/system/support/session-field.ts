import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { culvertCommand } from './culvert.ts';
import { EXCHANGE, exchangePort } from './exchange.ts';
import { FieldHub } from './field-hub.ts';
import { FieldNetwork, type Place } from './field-network.ts';
import { Sshd } from './openssh.ts';
import type { Program } from './program.ts';
import { SshShell } from './ssh-shell.ts';

/** The ports of `culvert connect` at the service's place. */
const PORTS = { ssh: 7101, exchange: 7102 } as const;

/** A device with an SSH server and the server of an exchange, a service and a hub, each with a network of its own. Both ends have their defaults. */
export class SessionField {
  readonly device: Place;
  readonly service: Place;
  readonly hub: FieldHub;
  readonly sshd: Sshd;
  /** `culvert agent` at the device. */
  readonly agent: Program;
  /** `culvert connect` at the service. */
  readonly connect: Program;
  /** The server of an exchange at the device, for one connection. */
  readonly exchangeServer: Program;
  readonly #knownHosts: string;

  private constructor(
    parts: Pick<SessionField, 'device' | 'service' | 'hub' | 'sshd' | 'agent' | 'connect' | 'exchangeServer'>,
  ) {
    this.device = parts.device;
    this.service = parts.service;
    this.hub = parts.hub;
    this.sshd = parts.sshd;
    this.agent = parts.agent;
    this.connect = parts.connect;
    this.exchangeServer = parts.exchangeServer;
    this.#knownHosts = join(this.home, 'known_by_port');
    writeFileSync(this.#knownHosts, `[127.0.0.1]:${PORTS.ssh} ${this.sshd.hostKey()}\n`);
  }

  static async start(cleanup: Cleanup): Promise<SessionField> {
    const network = await FieldNetwork.create(cleanup);
    const [device, service] = [await network.place(), await network.place()];
    const hub = await FieldHub.start(cleanup, await network.place());
    const sshd = await Sshd.start(cleanup, device.prefix);
    const exchangeServer = hub.start(device, [process.execPath, EXCHANGE, 'listen', '0']);
    const targets = [`ssh=127.0.0.1:${sshd.port}`, `exchange=127.0.0.1:${await exchangePort(exchangeServer)}`];
    const agent = await hub.agent(device, 'field', targets);
    const connect = await hub.connect(
      service,
      'field',
      Object.entries(PORTS).map(([name, port]) => `${name}=${port}`),
    );
    return new SessionField({ device, service, hub, sshd, agent, connect, exchangeServer });
  }

  /** A directory for files of the test, which both places see. */
  get home(): string {
    return this.hub.home;
  }

  /** Starts an interactive `culvert ssh` at the service's place: ssh, and `culvert connect --stdio` as its ProxyCommand. */
  shell(): { ssh: Program; shell: SshShell } {
    const options = ['-tt', '-F', 'none', ...this.sshd.clientArguments];
    const command = culvertCommand('ssh', '--host-keys=accept-new', 'root@field', ...options).flat();
    const ssh = this.hub.start(this.service, command, this.hub.serviceEnv());
    return { ssh, shell: new SshShell(ssh) };
  }

  /** Starts scp at the service's place, through `culvert connect`: `from` is a file there, `to` one at the device. @param bytesPerSecond how fast it may go */
  scp(from: string, to: string, bytesPerSecond: number): Program {
    const options = ['-F', 'none', ...this.sshd.clientArguments, '-o', `UserKnownHostsFile=${this.#knownHosts}`];
    const limit = String(Math.round((bytesPerSecond * 8) / 1024));
    return this.hub.start(this.service, [
      ...['scp', '-q', '-l', limit, '-P', String(PORTS.ssh), ...options],
      ...[from, `root@127.0.0.1:${to}`],
    ]);
  }

  /** Starts the client of an exchange at the service's place, through `culvert connect`. */
  exchange(): Program {
    return this.hub.start(this.service, [process.execPath, EXCHANGE, 'dial', String(PORTS.exchange)]);
  }
}
