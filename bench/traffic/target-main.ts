import type { AddressInfo } from 'node:net';
import { createTarget } from './target.ts';

/** Runs the target in a separate process: prints the address it listens on, and serves until it is stopped. */
const target = createTarget();
target.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening ${(target.address() as AddressInfo).port}\n`);
});
