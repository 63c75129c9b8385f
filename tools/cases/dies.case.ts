import { test } from 'vitest';
import { linger } from './linger.ts';

test('its worker dies', async () => {
  await linger();
  process.kill(process.pid, 'SIGSEGV');
  await new Promise(() => undefined);
});
