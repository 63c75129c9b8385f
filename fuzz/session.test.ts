import { expect, it } from 'vitest';
import { fuzzSession } from './session.ts';

it('keeps both ends of a session within their bounds, whatever frames the other sends', async () => {
  const counts = await fuzzSession(1, 1_000);
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(40);
});
