import { createInterface } from 'node:readline';

/**
 * Makes a program do what its standard input says, a line of JSON each: `{ id, call, args }` calls that function and prints
 * `{ id, value }` or `{ id, error }`. It ends with its input.
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

/** Prints something that nobody asked for. */
export function print(what) {
  console.log(JSON.stringify(what));
}

/** What the SDKs' errors tell: their class by name, the status of an HTTP answer, and the error that AMQP's transport wraps. */
export function describeError(error) {
  const { name, message, response, amqpError } = error;
  return { name, message, status: response?.statusCode, cause: amqpError?.message };
}
