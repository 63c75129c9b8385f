import { expect, it } from 'vitest';
import { fuzzProxyHeaders } from './proxy-header.ts';

it('reads PROXY headers by the rules, and what is kept as ever', async () => {
  const counts = await fuzzProxyHeaders(1, 20_000);
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(1_000);
});
