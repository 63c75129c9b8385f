import { freePort } from '../peers/free-port.ts';
import { Child } from '../processes/child.ts';

/** Runs iperf3's server as the target: prints the address it listens on, and serves until it is stopped. */
const port = await freePort();
const server = new Child({ command: 'iperf3', args: ['-s', '-B', '127.0.0.1', '-p', String(port), '--forceflush'] });
await server.readOutput().ready(/Server listening/);
process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
process.stdout.write(`listening ${port}\n`);
await server.succeeded();
