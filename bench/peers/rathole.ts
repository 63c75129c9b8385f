import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificateFiles } from '../middles/certificate-files.ts';
import { Child, run } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';
import type { Address } from '../traffic/connection.ts';
import type { Link } from '../traffic/link.ts';
import { freePort } from './free-port.ts';
import type { Peer, RunningPeer } from './peer.ts';
import { notInstalled, PEER_DIRECTORY } from './peer-directory.ts';

const PASSWORD = 'bench';
const PROGRAM = join(PEER_DIRECTORY, 'bin/rathole');

/** rathole has no program at the service's end: the driver connects to its server, and only the leg to the device uses TLS. */
export const rathole: Peer = {
  name: 'rathole',
  title: 'rathole server and client with TLS; the leg from the service to the server is plain TCP',
  family: 'tunnel',
  missing: () =>
    notInstalled('bin/rathole') ?? (findProgram('openssl') === undefined ? 'openssl not found' : undefined),
  start: startRathole,
};

async function startRathole(target: Address, workspace: string, link: Link): Promise<RunningPeer> {
  const { certFile, keyFile, ca } = await certificateFiles(workspace);
  const file = (name: string): string => join(workspace, name);
  writeFileSync(file('ca.pem'), ca);
  const identity = [
    '-export',
    '-out',
    file('identity.pfx'),
    '-in',
    certFile,
    '-inkey',
    keyFile,
    '-passout',
    `pass:${PASSWORD}`,
  ];
  await run({ command: findProgram('openssl') ?? 'openssl', args: ['pkcs12', ...identity] });
  const [control, entry] = [await freePort(), await freePort()];
  writeFileSync(
    file('server.toml'),
    `[server]
bind_addr = "127.0.0.1:${control}"
default_token = "bench"
[server.transport]
type = "tls"
[server.transport.tls]
pkcs12 = "${file('identity.pfx')}"
pkcs12_password = "${PASSWORD}"
[server.services.target]
bind_addr = "127.0.0.1:${entry}"
`,
  );
  writeFileSync(
    file('client.toml'),
    `[client]
remote_addr = "127.0.0.1:${await link.through(control, 1)}"
default_token = "bench"
[client.transport]
type = "tls"
[client.transport.tls]
trusted_root = "${file('ca.pem')}"
hostname = "localhost"
[client.services.target]
local_addr = "${target.host}:${target.port}"
`,
  );
  const server = new Child({ command: PROGRAM, args: [file('server.toml')] }).readOutput();
  const client = new Child(link.onDevice({ command: PROGRAM, args: [file('client.toml')] })).readOutput();
  const stop = async (): Promise<void> => {
    await client.stop();
    await server.stop();
  };
  try {
    await client.ready(/Control channel established/);
    await server.listening(entry);
    return {
      version: `rathole ${(await run({ command: PROGRAM, args: ['--version'] })).match(/(?<=Build Version:\s+)\S+/)?.[0] ?? ''}`,
      entry: { host: '127.0.0.1', port: entry },
      processes: [
        { role: 'server', pid: server.pid },
        { role: 'client', pid: client.pid },
      ],
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
