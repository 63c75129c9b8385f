import { homedir, userInfo } from 'node:os';
import { resolve } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { quickstartDirectory } from '../data-directory.ts';
import { stopOnSignals } from '../graceful-shutdown.ts';
import { tell } from '../messages.ts';
import { ownCommand, word } from '../own-command.ts';
import { DEMO_DEVICE } from '../quickstart/demo-device.ts';
import type { Listener } from '../quickstart/listen-somewhere.ts';
import { PROOF_BYTES, prove } from '../quickstart/prove.ts';
import { type Quickstart, startQuickstart } from '../quickstart/start.ts';
import { writeOut } from '../standard-output.ts';

/** Flags of `culvert quickstart`. */
export interface QuickstartFlags {
  /** Default 127.0.0.1:8443, or a free port if that one is in use. */
  readonly listen?: string;
  /** Default {@link quickstartDirectory}. `CULVERT_DATA_DIR` is ignored, since it names the directory of a real hub. */
  readonly dataDir?: string;
}

/** `culvert quickstart`: starts, tests itself, prints what runs where, and runs until a signal stops it. */
export async function quickstart(flags: QuickstartFlags): Promise<void> {
  const dataDir = resolve(flags.dataDir || quickstartDirectory(process.env, process.getuid?.(), homedir()));
  const running = await startQuickstart({ listen: flags.listen, dataDir, onProblem: tell });
  try {
    // Install the signal handlers before anything is printed: the user may press Ctrl-C as soon as the text mentions it.
    const stopped = untilStopped(running);
    const authenticated = report(running, dataDir).then(writeOut);
    await Promise.race([authenticated.then(() => stopped), stopped]);
  } finally {
    await running.stop();
  }
}

/** Resolves at the first SIGINT or SIGTERM; rejects when the hub fails. */
function untilStopped({ hub }: Quickstart): Promise<void> {
  return new Promise((stopped, failed) => {
    stopOnSignals({
      stop: () => {
        tell('stopping');
        stopped();
      },
    });
    void hub.failed.then((error) => failed(new CulvertError('internal', error.message, { cause: error })));
  });
}

async function report({ hub, listeners, taken }: Quickstart, dataDir: string): Promise<string> {
  const dataDirFlag = ` --data-dir ${word(dataDir)}`;
  const port = (name: string): number | undefined => listeners.find((listener) => listener.name === name)?.port;
  const { sha256, ms } = await prove(port('echo') ?? 0);
  const [node = '', script = ''] = process.argv;
  const { text: culvert, isLocal } = ownCommand({ node, script, cwd: process.cwd(), path: process.env['PATH'] });
  const login =
    port('ssh') === undefined ? undefined : `${culvert} ssh${dataDirFlag} ${word(userInfo().username)}@${DEMO_DEVICE}`;
  return `
It works: ${PROOF_BYTES / 1_048_576} MiB went through the tunnel to the device and back in ${ms.toFixed(0)} ms, sha256 ${sha256.slice(0, 16)}… on both ends.

  hub      https://${hub.hostName}${taken === undefined ? '' : `   (${taken} is taken)`}   data in ${dataDir}
  device   ${DEMO_DEVICE}, its agent offers ${listeners.map(({ name }) => name).join(', ')}
${listeners.map(listenerLine).join('')}
Try next, in another terminal${isLocal ? ' here' : ''}:

  curl http://127.0.0.1:${port('web')}/
  ${culvert} device list${dataDirFlag}
  ${login ?? `${culvert} connect${dataDirFlag} ${DEMO_DEVICE} web=0`}

${login === undefined ? 'No SSH server answers on port 22 of this machine, so the device offers no ssh.\n' : ''}Ctrl-C stops it.
`;
}

function listenerLine({ name, port, taken }: Listener): string {
  const address = name === 'web' ? `http://127.0.0.1:${port}/` : `127.0.0.1:${port}`;
  return `  ${name.padEnd(8)} ${address}${taken === undefined ? '' : `   (${taken} is taken)`}\n`;
}
