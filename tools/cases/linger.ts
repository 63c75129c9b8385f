import { spawn } from 'node:child_process';
import { once } from 'node:events';

const PROGRAM = `
const socket = require('node:net').connect(Number(process.env.CASE_PORT), '127.0.0.1');
socket.once('data', () => process.stdout.write('seen'));
socket.once('close', () => process.exit());
`;

/**
 * Starts a program in its own process group that this case does not end. Resolves when the test that runs the case has confirmed the program's
 * connection.
 */
export async function linger(): Promise<void> {
  const child = spawn(process.execPath, ['-e', PROGRAM], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  child.stdout.destroy();
  child.unref();
}
