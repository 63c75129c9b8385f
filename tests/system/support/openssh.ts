import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { eventually } from './eventually.ts';
import { freePort, listening } from './free-port.ts';
import { must, Program } from './program.ts';
import { scratch } from './scratch.ts';

/** A real OpenSSH server on a loopback port, with its own host key and one authorized key. */
export class Sshd {
  readonly port: number;
  /** The private key file that logs in as root. */
  readonly identity: string;
  readonly #directory: string;
  readonly #prefix: readonly string[];
  #program: Program | undefined;

  private constructor(directory: string, port: number, prefix: readonly string[]) {
    this.#directory = directory;
    this.#prefix = prefix;
    this.port = port;
    this.identity = join(directory, 'client');
  }

  /** @param prefix command prefix that runs a command at the place of the server; default: on this machine */
  static async start(cleanup: Cleanup, prefix: readonly string[] = []): Promise<Sshd> {
    const sshd = new Sshd(scratch(cleanup), await freePort(), prefix);
    cleanup.defer(sshd, () => sshd.#program?.stop());
    // sshd needs this empty directory for its unprivileged process; the package's start script, which does not run here, would create it.
    mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    await must('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', sshd.identity]);
    await sshd.#start('host');
    return sshd;
  }

  /** Returns the path of a public host key. */
  hostKeyFile(name = 'host'): string {
    return join(this.#directory, `${name}.pub`);
  }

  /** Returns the public host key: type and base64. */
  hostKey(name = 'host'): string {
    return readFileSync(this.hostKeyFile(name), 'utf8').split(' ', 2).join(' ');
  }

  /** Restarts the server on the same port with another host key. */
  async changeHostKey(): Promise<void> {
    await this.#program?.stop();
    await this.#start('other');
  }

  /** Arguments with which ssh logs in: this key and no other, and none of this machine's configuration. */
  get clientArguments(): string[] {
    return ['-i', this.identity, '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes'];
  }

  async #start(hostKey: string): Promise<void> {
    const path = (name: string) => join(this.#directory, name);
    await must('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path(hostKey)]);
    const settings = [
      `Port ${this.port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${path(hostKey)}`,
      `AuthorizedKeysFile ${path('client.pub')}`,
      `PidFile ${path('pid')}`,
      'StrictModes no',
      'UsePAM no',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'MaxStartups 100',
      'Subsystem sftp internal-sftp',
    ];
    writeFileSync(path('sshd_config'), `${settings.join('\n')}\n`);
    // sshd must be started by its absolute path because it executes itself again for each connection.
    const [command = '', ...args] = [...this.#prefix, '/usr/sbin/sshd', '-D', '-e', '-f', path('sshd_config')];
    const program = new Program(command, args);
    this.#program = program;
    if (this.#prefix.length === 0) return listening(this.port);
    await eventually('sshd to listen', () => /Server listening on/.test(program.stderr));
  }
}
