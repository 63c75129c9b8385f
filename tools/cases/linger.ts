import { spawn } from 'node:child_process';
import { once } from 'node:events';

const PROGRAM = `
const socket = require('node:net').connect(Number(process.env.CASE_PORT), '127.0.0.1');
socket.once('data', () => process.stdout.write('seen'));
socket.once('close', () => process.exit());
`;

/** Starts a program that nobody will end, in a process group of its own, and resolves when whoever runs the case has seen it. */
export async function linger(): Promise<void> {
  const child = spawn(process.execPath, ['-e', PROGRAM], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  child.stdout.destroy();
  child.unref();
}
