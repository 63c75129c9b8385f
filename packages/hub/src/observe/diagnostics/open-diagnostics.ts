import { resolve } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { DiagnosticSetting } from '../../config/logs-config.ts';
import type { EventSink } from '../events.ts';
import { openEndpoint } from '../open-endpoint.ts';
import { LogDelivery, type LogTarget } from '../resource-log/log-delivery.ts';
import type { LogRecord, LogResource } from '../resource-log/log-entry.ts';
import { FileTarget } from './file-target.ts';
import { HttpTarget } from './http-target.ts';
import { OtlpTarget } from './otlp-target.ts';
import { StreamTarget } from './stream-target.ts';

/** Milliseconds each target has to deliver its queue when the hub stops; all at the same time. */
const CLOSE_MS = 5_000;

/** Maximum records of one batch: at most 400 KB, so that a batch fits the smallest file and any endpoint's limit. */
const MAX_BATCH = 100;

/** The configured targets, each with its own queue. */
export interface Diagnostics {
  push(record: LogRecord): void;
  readonly deliveries: readonly LogDelivery[];
  close(): Promise<void>;
}

/**
 * Opens every target, so that a wrong setting prevents the start instead of losing records later.
 * @throws CulvertError `config_invalid`, one line that names the setting; nothing stays open then
 */
export async function openDiagnostics(
  settings: readonly DiagnosticSetting[],
  options: { readonly clock: Clock; readonly onEvent: EventSink; readonly resource: LogResource },
): Promise<Diagnostics> {
  const { clock, onEvent, resource } = options;
  const open: { setting: DiagnosticSetting; delivery: LogDelivery }[] = [];
  const close = async () => {
    await Promise.all(open.map(({ delivery }) => delivery.close(CLOSE_MS)));
  };
  try {
    for (const setting of settings) {
      const target = await openTarget(setting, clock, resource);
      const delivery = new LogDelivery({ name: setting.name, target, clock, onEvent, maxBatch: MAX_BATCH });
      open.push({ setting, delivery });
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    push(record) {
      for (const { setting, delivery } of open) {
        if (setting.categories.includes(record.category)) delivery.push(record);
      }
    },
    deliveries: open.map(({ delivery }) => delivery),
    close,
  };
}

async function openTarget({ name, to }: DiagnosticSetting, clock: Clock, resource: LogResource): Promise<LogTarget> {
  const named = `diagnostics: '${name}'`;
  if (to.http !== undefined) return new HttpTarget(openEndpoint(named, to.http, { clock }));
  if (to.otlp !== undefined) return new OtlpTarget(openEndpoint(named, to.otlp, { clock, path: '/v1/logs' }), resource);
  if (to.file === undefined) return new StreamTarget(process.stdout);
  try {
    return await FileTarget.open({ ...to.file, path: resolve(to.file.path) });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CulvertError('config_invalid', `${named} cannot be used: ${why}`, { cause: error });
  }
}
