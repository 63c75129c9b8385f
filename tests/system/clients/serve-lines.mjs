import { createInterface } from 'node:readline';

/**
 * Executes the commands on standard input, one JSON object per line: `{ id, call, args }` calls that function, and the program prints
 * `{ id, value }` or `{ id, error }`. The program exits at the end of its input.
 */
export function serveLines(functions) {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const { id, call, args } = JSON.parse(line);
    try {
      print({ id, value: (await functions[call](...args)) ?? null });
    } catch (error) {
      print({ id, error: describeError(error) });
    }
  });
  lines.on('close', () => process.exit(0));
  print({ event: 'ready' });
}

/** Prints an event that does not answer a command. */
export function print(what) {
  console.log(JSON.stringify(what));
}

/** Returns the facts of an SDK's error: its class by name, its message, the status of an HTTP answer, and the error that the AMQP transport wraps. */
export function describeError(error) {
  const { name, message, response, amqpError } = error;
  return { name, message, status: response?.statusCode, cause: amqpError?.message };
}
