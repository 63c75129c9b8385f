import { homedir } from 'node:os';
import { type HubFlags, runHub } from '@culvert/hub';
import { defaultDataDirectory } from '../data-directory.ts';
import { unwatchOutput } from '../standard-output.ts';

/** `culvert hub`: runs until it is told to stop. What the flags leave open comes from the environment, a file or the defaults. */
export function hub(flags: HubFlags): Promise<void> {
  // Only a diagnostic setting writes there, and its reader's going is no reason to end a hub and its streams.
  unwatchOutput();
  process.stdout.on('error', () => undefined);
  const { env } = process;
  const defaultDataDir = defaultDataDirectory(env, process.getuid?.(), homedir());
  return runHub(flags, {
    env,
    defaultDataDir,
    log: process.stderr,
    on: (signal, listener) => process.on(signal, listener),
    removeListener: (signal, listener) => process.removeListener(signal, listener),
  });
}
