import { describe, expect, it } from 'vitest';
import { fuzzSasTokens } from './sas-token.ts';

describe('the verification of SAS tokens', () => {
  it('takes what is signed and refuses the rest of ten thousand tokens', async () => {
    const counts = await fuzzSasTokens(1, 10_000);
    expect(Object.keys(counts).toSorted()).toEqual(['taken', 'token_expired', 'unauthorized']);
    // Each result must occur often enough to be meaningful.
    for (const [kind, count] of Object.entries(counts)) expect(count, kind).toBeGreaterThan(50);
  });
});
