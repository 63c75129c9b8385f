import { homedir } from 'node:os';
import { type HubFlags, runHub } from '@culvert/hub';
import { defaultDataDirectory } from '../data-directory.ts';
import { unwatchOutput } from '../standard-output.ts';

/** `culvert hub`: runs until a signal stops it. Settings without a flag come from the environment, the configuration file or the defaults. */
export function hub(flags: HubFlags): Promise<void> {
  // Only a diagnostic setting writes to stdout. When its reader exits, the hub and its streams must keep running.
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
