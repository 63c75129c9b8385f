import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Hub, parseHubConfig } from '@culvert/hub';
import { EventBus } from '../../packages/hub/src/observe/event-bus.ts';
import { logSink } from '../../packages/hub/src/observe/log.ts';

// Runs a hub with some of the subscribers that observe its streams: `VARIANT DIRECTORY`. It prints `listening PORT` and ends on SIGTERM
// or at the end of its standard input.

setFlagsFromString('--minor-gc-task-trigger=10');
const [variant = '', directory = ''] = process.argv.slice(2);

// A hub without any subscriber is useful only for this bench, so the product has no option for it.
if (variant === 'unobserved') EventBus.prototype.subscribe = () => () => undefined;
const log = logSink({
  level: 'info',
  format: 'json',
  destination: createWriteStream(join(directory, 'hub.log')),
});
const config = parseHubConfig({
  dataDir: join(directory, 'data'),
  listen: '127.0.0.1:0',
  adminListen: '127.0.0.1:0',
  drainMs: 0,
  audit: { enabled: variant === 'audit' || variant === 'all' },
});
const hub = await Hub.start(config, { sinks: variant === 'all' ? [log] : [] });
process.stdout.write(`listening ${hub.address.port}\n`);
const stop = (): void => void hub.stop(0).then(() => process.exit(0));
process.stdin.resume().once('end', stop);
process.once('SIGTERM', stop);
