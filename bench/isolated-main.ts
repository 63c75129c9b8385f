import { readFileSync, writeFileSync } from 'node:fs';
import type { IsolatedRequest } from './isolated.ts';
import { type MeasureOptions, measureScenario, notMeasured } from './measure.ts';
import { prepareNamespace } from './network/namespace.ts';
import { PEERS } from './peers/index.ts';
import { SCENARIOS } from './scenarios/index.ts';

// Measures one scenario in the network namespace that this process was started in and does not share with others.

const request = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as IsolatedRequest;
const scenario = SCENARIOS.find(({ name }) => name === request.scenario);
if (scenario === undefined) throw new Error(`there is no scenario ${request.scenario}`);

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
const options: MeasureOptions = {
  ...request.options,
  signal: interrupted.signal,
  onProgress: (message) => {
    process.stderr.write(`${message}\n`);
  },
};

/** The reason why the namespace cannot be prepared here, found by trying. */
const reason = await prepareNamespace().then(
  () => undefined,
  (error: unknown) => (error instanceof Error ? error.message : String(error)),
);
const result =
  reason === undefined
    ? await measureScenario(
        scenario,
        PEERS.filter(({ name }) => request.peers.includes(name)),
        options,
      )
    : notMeasured(scenario, options, reason);
writeFileSync(request.answer, JSON.stringify(result));
