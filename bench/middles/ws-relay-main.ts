import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { startWsRelay } from '@culvert/testkit';

/** The ws-library relay as a process of its own, with the same collector as the gateway's. */
setFlagsFromString('--minor-gc-task-trigger=10');

const read = (name: string): string => readFileSync(process.env[name] ?? '', 'utf8');
const relay = await startWsRelay({ cert: read('BENCH_CERT_FILE'), key: read('BENCH_KEY_FILE'), ca: '' });
process.stdout.write(`listening ${new URL(relay.url).port} -\n`);

// Rather than by the signal itself, so that a profiler can write what it has.
process.once('SIGTERM', () => process.exit(0));
