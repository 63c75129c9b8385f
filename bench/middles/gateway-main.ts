import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { systemClock } from '@culvert/stream';

/** Runs the gateway in a separate process with the hub's collector setting: prints its port and boot id, and serves until it is stopped. */
setFlagsFromString('--minor-gc-task-trigger=10');

/** A different build of the gateway, to compare two builds in one run. */
const source = process.env['BENCH_GATEWAY_SOURCE'] ?? '@culvert/gateway';
const { Gateway } = (await import(source)) as typeof import('@culvert/gateway');
const grantKey = createPublicKey({ key: JSON.parse(process.env['BENCH_GRANT_KEY'] ?? '{}'), format: 'jwk' });
const gateway = new Gateway({ grantKey, clock: systemClock, onEvent: () => undefined });
const server = createServer({
  cert: readFileSync(process.env['BENCH_CERT_FILE'] ?? ''),
  key: readFileSync(process.env['BENCH_KEY_FILE'] ?? ''),
});
server.on('upgrade', (request, socket, head) => void gateway.handleUpgrade(request, socket, head));
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening ${(server.address() as AddressInfo).port} ${gateway.bootId}\n`);
});

// Exits normally instead of by the signal, so that a profiler can write its data.
process.once('SIGTERM', () => process.exit(0));
