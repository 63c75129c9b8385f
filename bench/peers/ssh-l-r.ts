import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Child, type CommandLine, run } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';
import type { Address } from '../traffic/connection.ts';
import type { Link } from '../traffic/link.ts';
import { freePort } from './free-port.ts';
import type { Peer, RunningPeer } from './peer.ts';

const HOST = '127.0.0.1';
const PROGRAMS = ['sshd', 'ssh', 'ssh-keygen'] as const;

/**
 * OpenSSH in the same topology: one sshd in the middle, `ssh -R` from the device to it and `ssh -L` from the service to it.
 * @param cipher ssh's name of a cipher; when absent, ssh and sshd negotiate one
 */
export function sshPeer(name: string, cipher?: string): Peer {
  return {
    name,
    title: `ssh -L into ssh -R over one sshd as bastion, ${cipher ?? 'its default cipher'}`,
    family: 'tunnel',
    missing: () => {
      const absent = PROGRAMS.filter((program) => findProgram(program) === undefined);
      return absent.length === 0 ? undefined : `${absent.join(', ')} not found: install the OpenSSH server and client`;
    },
    start: (target, workspace, link) => startSsh(target, workspace, link, cipher),
  };
}

async function startSsh(
  target: Address,
  workspace: string,
  link: Link,
  cipher: string | undefined,
): Promise<RunningPeer> {
  const ssh = findProgram('ssh') ?? 'ssh';
  const port = await freePort();
  const reached = await link.through(port, 2);
  const options = await writeConfiguration(workspace, { listen: port, reached }, cipher);
  const children: Child[] = [];
  const start = (command: string, args: readonly string[], wrap = (line: CommandLine) => line): Child => {
    const child = new Child(wrap({ command, args })).readOutput();
    children.unshift(child);
    return child;
  };
  try {
    const sshd = start(findProgram('sshd') ?? 'sshd', ['-D', '-e', '-f', join(workspace, 'sshd_config')]);
    await sshd.ready(/Server listening/);
    const device = start(ssh, [...options, '-N', '-R', `${HOST}:0:${target.host}:${target.port}`, HOST], link.onDevice);
    const remotePort = (await device.ready(/Allocated port (\d+)/))[1] ?? '';
    const localPort = await freePort();
    const forward = (local: number): string[] => ['-v', '-N', '-L', `${HOST}:${local}:${HOST}:${remotePort}`, HOST];
    const listening = /Local forwarding listening on .*Entering interactive session/s;
    const service = start(ssh, [...options, ...forward(localPort)]);
    await service.ready(listening);
    const launchedPort = await freePort();
    return {
      version: (await run({ command: ssh, args: ['-V'] })).trim(),
      entry: { host: HOST, port: localPort },
      processes: [
        { role: 'sshd', pid: sshd.pid },
        { role: 'ssh -R', pid: device.pid },
        { role: 'ssh -L', pid: service.pid },
      ],
      launches: {
        version: { command: ssh, args: ['-V'] },
        listen: { command: ssh, args: [...options, ...forward(launchedPort)], listening, port: launchedPort },
        stdio: { command: ssh, args: [...options, '-W', `${HOST}:${remotePort}`, HOST] },
      },
      stop: async () => {
        for (const child of children) await child.stop();
      },
    };
  } catch (error) {
    for (const child of children) await child.stop();
    throw error;
  }
}

/** Writes keys and configuration for this run only: nothing of the user's or the machine's is read. Returns the clients' options. */
async function writeConfiguration(
  workspace: string,
  ports: { listen: number; reached: number },
  cipher: string | undefined,
): Promise<string[]> {
  const file = (name: string): string => join(workspace, name);
  // When run as root, sshd refuses to start without the directory that its unprivileged process is confined to.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  for (const key of ['host_key', 'user_key']) {
    await run({
      command: findProgram('ssh-keygen') ?? 'ssh-keygen',
      args: ['-q', '-t', 'ed25519', '-N', '', '-f', file(key)],
    });
  }
  writeFileSync(file('authorized_keys'), readFileSync(file('user_key.pub')));
  writeFileSync(file('known_hosts'), `[${HOST}]:${ports.reached} ${readFileSync(file('host_key.pub'), 'utf8')}`);
  writeFileSync(
    file('sshd_config'),
    [
      `ListenAddress ${HOST}:${ports.listen}`,
      `HostKey ${file('host_key')}`,
      `AuthorizedKeysFile ${file('authorized_keys')}`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
      'PidFile none',
      '',
    ].join('\n'),
  );
  const settings = [
    `Port=${ports.reached}`,
    `User=${userInfo().username}`,
    `IdentityFile=${file('user_key')}`,
    'IdentitiesOnly=yes',
    `UserKnownHostsFile=${file('known_hosts')}`,
    'GlobalKnownHostsFile=none',
    'StrictHostKeyChecking=yes',
    'BatchMode=yes',
    'ControlMaster=no',
    'ControlPath=none',
    'ExitOnForwardFailure=yes',
    ...(cipher === undefined ? [] : [`Ciphers=${cipher}`]),
  ];
  return ['-F', 'none', ...settings.flatMap((setting) => ['-o', setting])];
}
