import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { startWsRelay } from '@culvert/testkit';

/** Runs the relay based on the ws library in a separate process, with the same garbage collector setting as the gateway's. */
setFlagsFromString('--minor-gc-task-trigger=10');

const read = (name: string): string => readFileSync(process.env[name] ?? '', 'utf8');
const relay = await startWsRelay({ cert: read('BENCH_CERT_FILE'), key: read('BENCH_KEY_FILE'), ca: '' });
process.stdout.write(`listening ${new URL(relay.url).port} -\n`);

// Exits normally instead of by the signal, so that a profiler can write its data.
process.once('SIGTERM', () => process.exit(0));
