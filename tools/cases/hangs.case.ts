import { test } from 'vitest';
import { linger } from './linger.ts';

test('it never ends', async () => {
  await linger();
  await new Promise(() => undefined);
});
