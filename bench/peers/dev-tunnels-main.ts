import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocket } from 'ws';
import { PEER_DIRECTORY } from './peer-directory.ts';

/** Runs one end of an SSH session through a relay: `device URL`, or `service URL HOST PORT`, which listens and forwards connections to HOST and PORT. */
const [side = '', url = '', host = '', port = ''] = process.argv.slice(2);

interface Authenticating {
  authenticationPromise?: Promise<object>;
}

interface Session {
  credentials: { publicKeys: object[] };
  onAuthenticating(listener: (event: Authenticating) => void): void;
  connect(stream: object): Promise<void>;
  authenticate(credentials: { username: string }): Promise<boolean>;
  activateService(service: object): Forwarding;
}

interface Forwarding {
  forwardToRemotePort(address: string, port: number, host: string, remote: number): Promise<{ localPort: number }>;
}

/** The used parts of `@microsoft/dev-tunnels-ssh`, which is not a dependency of this repository. */
interface Library {
  readonly SshSessionConfiguration: new () => { addService(service: object): void };
  readonly SshServerSession: new (configuration: object) => Session;
  readonly SshClientSession: new (configuration: object) => Session;
  readonly NodeStream: new (stream: Duplex) => object;
  readonly SshAlgorithms: { publicKey: { ecdsaSha2Nistp384: { generateKeyPair(): Promise<object> } } };
}

const load = createRequire(join(PEER_DIRECTORY, 'index.js'));
const ssh = load('@microsoft/dev-tunnels-ssh') as Library;
const { PortForwardingService } = load('@microsoft/dev-tunnels-ssh-tcp') as { PortForwardingService: object };
const { version } = load('@microsoft/dev-tunnels-ssh/package.json') as { version: string };

const configuration = new ssh.SshSessionConfiguration();
configuration.addService(PortForwardingService);
const session = new (side === 'device' ? ssh.SshServerSession : ssh.SshClientSession)(configuration);
// Both ends belong to this bench, and TLS has authenticated the relay.
session.onAuthenticating((event) => {
  event.authenticationPromise = Promise.resolve({});
});
const socket = new WebSocket(url, { ca: process.env['BENCH_CA'] ?? '', perMessageDeflate: false });
const stream = new ssh.NodeStream(createWebSocketStream(socket));
if (side === 'device') {
  session.credentials = { publicKeys: [await ssh.SshAlgorithms.publicKey.ecdsaSha2Nistp384.generateKeyPair()] };
  await session.connect(stream);
} else {
  await session.connect(stream);
  if (!(await session.authenticate({ username: 'bench' }))) throw new Error('the device did not let the service in');
  const forwarding = session.activateService(PortForwardingService);
  const { localPort } = await forwarding.forwardToRemotePort('127.0.0.1', 0, host, Number(port));
  process.stdout.write(`listening ${localPort} ${version}\n`);
}
