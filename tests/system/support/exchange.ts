import { join } from 'node:path';
import { expect } from 'vitest';
import { ROOT } from './culvert.ts';
import { eventually } from './eventually.ts';
import type { Program } from './program.ts';

/** The program that is run at both ends of a connection to exchange random bytes until it is told to finish. */
export const EXCHANGE = join(ROOT, 'tests/system/programs/exchange.mjs');

/** What one end has sent and received so far. The hashes, in hexadecimal, come when both directions have ended. */
interface Report {
  readonly sent: number;
  readonly received: number;
  readonly sentHash?: string;
  readonly receivedHash?: string;
}

/** Returns the port of a server started with `EXCHANGE listen 0`. */
export async function exchangePort(server: Program): Promise<number> {
  const [, port] = await server.waitFor(/"listening":(\d+)/);
  return Number(port);
}

/** Returns the code of the error that an end of an exchange met, such as `ECONNRESET`. Rejects when the program ends without one. */
export async function exchangeError(end: Program): Promise<string> {
  return (await end.waitFor(/"error":"(\w+)"/))[1] ?? '';
}

/** Waits until both ends of an exchange have received at least `bytes` more than now. */
export async function exchangeMoves(client: Program, server: Program, bytes: number): Promise<void> {
  const ends = [client, server].map((program) => ({ program, from: newest(program)?.received ?? 0 }));
  await eventually(`${bytes} more bytes both ways`, () => {
    if (!client.running) throw new Error(`the client has ended: ${client.stdout.slice(-500)}${client.stderr}`);
    return ends.every(({ program, from }) => (newest(program)?.received ?? 0) >= from + bytes);
  });
}

/** Tells the client to finish, and expects each end to have received exactly what the other one sent. */
export async function expectByteExact(client: Program, server: Program): Promise<void> {
  client.child.stdin.write('finish\n');
  const reports = await Promise.all(
    [client, server].map(async (program) => {
      const last = await program.waitFor(/^.*"sentHash".*$|"error":"\w+"/m);
      expect(last[0]).not.toContain('"error"');
      return reportsOf(program).find(isFinal);
    }),
  ).catch((error: Error) => {
    const ends = [client, server].map(({ stdout, stderr }) => `${stdout.slice(-300)}${stderr.slice(-300)}`);
    throw new Error(`${error.message}\n--- client\n${ends[0]}\n--- server\n${ends[1]}`);
  });
  const [here, there] = reports;
  expect(`${client.stdout}${server.stdout}`).not.toContain('"error"');
  expect({ bytes: there?.received, hash: there?.receivedHash }).toEqual({ bytes: here?.sent, hash: here?.sentHash });
  expect({ bytes: here?.received, hash: here?.receivedHash }).toEqual({ bytes: there?.sent, hash: there?.sentHash });
}

function reportsOf(program: Program): Report[] {
  const whole = program.stdout.slice(0, program.stdout.lastIndexOf('\n') + 1).split('\n');
  return whole.filter((line) => line.startsWith('{"sent"')).map((line) => JSON.parse(line) as Report);
}

const newest = (program: Program): Report | undefined => reportsOf(program).at(-1);
const isFinal = ({ sentHash }: Report): boolean => sentHash !== undefined;
