import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { GatewayThreads } from '@culvert/gateway';
import { systemClock } from '@culvert/stream';

/** Runs a gateway with several threads, each with its own port, in one process: prints its ports and boot id, and serves until it is stopped. */
setFlagsFromString('--minor-gc-task-trigger=10');

const grantKey = createPublicKey({ key: JSON.parse(process.env['BENCH_GRANT_KEY'] ?? '{}'), format: 'jwk' });
const gateway = await GatewayThreads.start({
  threads: Number(process.env['BENCH_THREADS']),
  entry: new URL('../../packages/hub/src/gateway/worker.ts', import.meta.url),
  listen: { host: '127.0.0.1', port: 0 },
  apart: true,
  pair: {
    cert: readFileSync(process.env['BENCH_CERT_FILE'] ?? '', 'utf8'),
    key: readFileSync(process.env['BENCH_KEY_FILE'] ?? '', 'utf8'),
  },
  maxUnauthenticatedPerAddress: 1_000,
  maxUnauthenticated: 1_000,
  grantKey,
  clock: systemClock,
  onEvent: () => undefined,
  onTlsFailed: () => undefined,
});
process.stdout.write(`listening ${gateway.addresses.map(({ port }) => port).join(',')} ${gateway.bootId}\n`);

process.once('SIGTERM', () => process.exit(0));
