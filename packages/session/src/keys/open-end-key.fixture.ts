// Opens the key file that is named on the command line and prints the fingerprint of its key.
import { systemClock } from '@culvert/stream';
import { openEndKey } from './end-key.ts';

const key = await openEndKey(process.argv[2] ?? '', { clock: systemClock, warn: () => {} });
process.stdout.write(`${key.fingerprint}\n`);
