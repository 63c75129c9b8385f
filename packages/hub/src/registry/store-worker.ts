import { parentPort, workerData } from 'node:worker_threads';
import { BatchRunner } from './batch.ts';
import { type OpenDatabase, openDatabase } from './database.ts';
import { PolicyTable } from './policy-table.ts';
import { startupError } from './sqlite-failure.ts';
import type { FromStore, StoreStart, ToStore } from './store-calls.ts';

// Entry point of the store's worker thread: opens the database, then runs one batch of calls at a time.

const port = parentPort;
if (port === null) throw new Error('This file is the entry of a worker thread.');
const send = (message: FromStore): void => port.postMessage(message);

function open(start: StoreStart): OpenDatabase | undefined {
  let opened: OpenDatabase | undefined;
  try {
    opened = openDatabase(start.directory);
    const policies = new PolicyTable(opened.database);
    for (const policy of start.policies) policies.insertMissing(policy);
    return opened;
  } catch (error) {
    opened?.close();
    const { code, message } = startupError(error, start.directory);
    send({ opened: { ok: false, code, message } });
    return undefined;
  }
}

const opened = open(workerData as StoreStart);
if (opened !== undefined) {
  const runner = new BatchRunner(opened.database);
  port.on('message', (message: ToStore) => {
    if ('batch' in message) {
      send({ results: runner.run(message.batch) });
    } else {
      opened.close();
      port.close();
    }
  });
  send({ opened: { ok: true, value: undefined } });
}
