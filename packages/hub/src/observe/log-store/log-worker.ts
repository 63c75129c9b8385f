import { parentPort, workerData } from 'node:worker_threads';
import { sqliteProblem } from '../sqlite-problem.ts';
import type { FromLogThread, LogThreadStart, ToLogThread } from './log-calls.ts';
import { LogParts } from './log-parts.ts';

// Entry point of the log's worker thread: handles one message at a time and continues after each failure.

const port = parentPort;
if (port === null) throw new Error('This file is the entry of a worker thread.');
const send = (message: FromLogThread): void => port.postMessage(message);
const { directory, retention } = workerData as LogThreadStart;
const parts = new LogParts(directory, retention);

port.on('message', (message: ToLogThread) => {
  if ('append' in message) {
    send(outcome(() => parts.append(message.append, message.now)) ?? { appended: true });
  } else if ('query' in message) {
    const { ticket } = message;
    try {
      send({ ticket, page: parts.query(message.query) });
    } catch (error) {
      send({ ticket, problem: sqliteProblem(error) });
    }
  } else if ('tidy' in message) {
    // A part that cannot be deleted now is deleted when the next part is opened.
    outcome(() => parts.tidy(message.tidy));
  } else {
    outcome(() => parts.close());
    port.close();
  }
});

function outcome(action: () => void): { failed: string } | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return { failed: sqliteProblem(error) };
  }
}
