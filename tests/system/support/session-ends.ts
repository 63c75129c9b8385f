import { expect } from 'vitest';
import type { Cleanup } from './cleanup.ts';
import { culvertCommand } from './culvert.ts';
import { EXCHANGE, exchangeMoves, exchangePort, expectByteExact } from './exchange.ts';
import type { HubProcess } from './hub-process.ts';
import { expectTold, LINK_LINES } from './link-lines.ts';
import { Sshd } from './openssh.ts';
import { cleanEnvironment, Program } from './program.ts';
import { type RunningAgent, startAgent, startConnect } from './proxies.ts';
import { SshShell } from './ssh-shell.ts';

const MEBIBYTE = 1024 * 1024;

/** Both ends of a hub that a test is about to disturb, with their defaults: an exchange through `culvert connect`, and a shell of `culvert ssh`. */
export class SessionEnds {
  readonly agent: RunningAgent;
  /** `culvert connect`, through which the exchange goes. */
  readonly connect: Program;
  /** The exchange's end at the service. */
  readonly client: Program;
  /** The exchange's end at the device. */
  readonly server: Program;
  /** `culvert ssh`, which starts a `culvert connect --stdio` of its own: a session of its own. */
  readonly ssh: Program;
  readonly shell: SshShell;
  readonly #login: string;

  private constructor(
    parts: Pick<SessionEnds, 'agent' | 'connect' | 'client' | 'server' | 'ssh' | 'shell'>,
    login: string,
  ) {
    this.agent = parts.agent;
    this.connect = parts.connect;
    this.client = parts.client;
    this.server = parts.server;
    this.ssh = parts.ssh;
    this.shell = parts.shell;
    this.#login = login;
  }

  /** Starts an SSH server, both ends, the shell and the exchange, for the device `field`; resolves when bytes flow. */
  static async start(cleanup: Cleanup, hub: HubProcess): Promise<SessionEnds> {
    const start = ([command, args]: readonly [string, readonly string[]], env: NodeJS.ProcessEnv = {}): Program =>
      cleanup.defer(new Program(command, args, { env: cleanEnvironment(env) }), (program) => program.stop());
    const exchange = (...args: string[]) => start([process.execPath, [EXCHANGE, ...args]]);
    const sshd = await Sshd.start(cleanup);
    const server = exchange('listen', '0');
    const targets = [`ssh=127.0.0.1:${sshd.port}`, `exchange=127.0.0.1:${await exchangePort(server)}`];
    const agent = await startAgent(cleanup, hub, 'field', targets);
    const { ports, program: connect } = await startConnect(cleanup, hub, 'field', ['exchange']);
    const client = exchange('dial', String(ports[0]));
    const options = ['-tt', '-F', 'none', ...sshd.clientArguments];
    const ssh = start(culvertCommand('ssh', '--host-keys=accept-new', 'root@field', ...options), hub.serviceEnv());
    const shell = new SshShell(ssh);
    const login = await shell.identity();
    await exchangeMoves(client, server, MEBIBYTE);
    return new SessionEnds({ agent, connect, client, server, ssh, shell }, login);
  }

  /** Sends a signal to all processes at the service's side, as when a laptop falls asleep or wakes up. */
  signalLaptop(signal: 'SIGSTOP' | 'SIGCONT'): void {
    // Each program leads a process group, to which the ProxyCommand of ssh belongs.
    for (const { pid } of [this.connect, this.client, this.ssh]) process.kill(-pid, signal);
  }

  /** Expects the shell to be the one that it was, and a mebibyte more to arrive both ways. */
  async expectGoingOn(): Promise<void> {
    await exchangeMoves(this.client, this.server, MEBIBYTE);
    expect(await this.shell.identity()).toBe(this.#login);
  }

  /** Ends the exchange and the shell: expects every byte to have arrived, and ssh to pass on the shell's exit code. */
  async finish(): Promise<void> {
    await expectByteExact(this.client, this.server);
    expect(await this.shell.exit(3)).toBe(3);
  }

  /** Expects the users of `connect`, `ssh` and the agent, which serves both, to have been told `times` that their link was lost and is back. */
  expectTold(times: number): void {
    expectTold(this.connect, LINK_LINES.connect, times);
    expectTold(this.ssh, LINK_LINES.connect, times);
    expectTold(this.agent.program, LINK_LINES.agent, 2 * times);
  }
}
