import { expect, test } from 'vitest';
import { fuzzRest } from './rest.ts';

test('500 requests, most of them wrong', async () => {
  const counts = await fuzzRest(1, 500);
  // The cases must get past the listener.
  for (const status of ['200', '400', '401', '404', '501']) expect(counts[status] ?? 0, status).toBeGreaterThan(3);
}, 60_000);
