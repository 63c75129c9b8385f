import { CulvertError } from '@culvert/protocol';
import { type HubFlags, logOptions, resolveHubConfig } from './config/config.ts';
import { Hub } from './hub.ts';
import { logSink } from './observe/log.ts';

/** The parts of the process that `runHub` uses. */
export interface HubProcess {
  readonly env: NodeJS.ProcessEnv;
  /** The data directory when neither flags, environment nor file set one. */
  readonly defaultDataDir: string;
  /** Receives the log, one line per write. */
  readonly log: { write(line: string): void; readonly isTTY?: boolean };
  on(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
  removeListener(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
}

/**
 * `culvert hub`: runs the hub until SIGTERM or SIGINT. The first signal makes the hub drain; the second stops it at once. SIGHUP makes it check for a new
 * certificate.
 * Resolves when the hub has stopped.
 * @throws CulvertError `config_invalid`; `internal` when the store failed while running
 */
export async function runHub(flags: HubFlags, host: HubProcess): Promise<void> {
  const config = resolveHubConfig(flags, host.env, host.defaultDataDir);
  const sink = logSink({ ...logOptions(config, host.log.isTTY === true), destination: host.log });
  let hub: Hub | undefined;
  let asked = 0;
  let stopAsked: () => void = () => undefined;
  const stop = new Promise<undefined>((resolve) => {
    stopAsked = () => resolve(undefined);
  });
  const onStop = () => {
    asked += 1;
    stopAsked();
    // A second signal stops the hub without further waiting.
    if (asked > 1) void hub?.stop(0);
  };
  const onReload = () => void hub?.reload();
  // Registered before the start, which takes a moment: a signal without a handler would kill the process during the start.
  host.on('SIGINT', onStop);
  host.on('SIGTERM', onStop);
  host.on('SIGHUP', onReload);
  try {
    hub = await Hub.start(config, { sinks: [sink] });
    if (hub.certificateNotice !== undefined) sink({ type: 'certificate-kept', problem: hub.certificateNotice });
    const failure = await Promise.race([stop, hub.failed]);
    await (asked > 1 ? hub.stop(0) : hub.stop());
    if (failure !== undefined) throw new CulvertError('internal', failure.message, { cause: failure });
  } finally {
    host.removeListener('SIGINT', onStop);
    host.removeListener('SIGTERM', onStop);
    host.removeListener('SIGHUP', onReload);
  }
}
