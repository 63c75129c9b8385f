import type { AuthorityRecord, AuthorityStore, RegistryListener } from '@culvert/hub';

/** An empty store of authorities for one test, with a function that closes it. */
export interface AuthoritiesUnderTest {
  readonly authorities: AuthorityStore;
  close(): Promise<void>;
}

type Vitest = Pick<typeof import('vitest'), 'describe' | 'it' | 'expect'>;

/** The maximum number of authorities in a store. */
const MAX_AUTHORITIES = 50;

const sample = (name: string, over: Partial<AuthorityRecord> = {}): AuthorityRecord => ({
  name,
  certificate: `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`,
  thumbprint: Buffer.from(name.padEnd(32)).toString('hex').toUpperCase(),
  ...over,
});

/** Defines the tests that every store of certificate authorities must pass. Call it at the top level of a test file, like `registryConformance`. */
export function authorityConformance(
  { describe, it, expect }: Vitest,
  make: (listener: RegistryListener) => Promise<AuthoritiesUnderTest>,
): void {
  const using = (use: (authorities: AuthorityStore, notified: readonly string[]) => Promise<void>) => async () => {
    const notified: string[] = [];
    const { authorities, close } = await make({
      identityChanged: () => {},
      policyChanged: () => {},
      authoritiesChanged: (all) => notified.push(all.map(({ name }) => name).join(' ')),
    });
    try {
      await use(authorities, notified);
    } finally {
      await close();
    }
  };
  const failing = (promise: Promise<unknown>, code: string) => expect(promise).rejects.toMatchObject({ code });

  describe('a store of certificate authorities', () => {
    it(
      'keeps what it is given, in the order of the names, and tells of all that are left after each change',
      using(async (authorities, notified) => {
        expect(await authorities.list()).toEqual([]);
        for (const name of ['b', 'B', 'a']) await authorities.put(sample(name));
        expect(await authorities.list()).toEqual(['B', 'a', 'b'].map((name) => sample(name)));
        expect(await authorities.get('a')).toEqual(sample('a'));
        expect(await authorities.get('A')).toBeUndefined();
        await authorities.delete('a');
        expect(await authorities.get('a')).toBeUndefined();
        expect(notified).toEqual(['b', 'B b', 'B a b', 'B b']);
      }),
    );

    it(
      'puts one in the place of that of the same name',
      using(async (authorities) => {
        await authorities.put(sample('a'));
        const newer = sample('a', { thumbprint: 'AB'.repeat(32) });
        await authorities.put(newer);
        expect(await authorities.list()).toEqual([newer]);
      }),
    );

    it(
      'knows what is not there, and tells nothing of what failed',
      using(async (authorities, notified) => {
        await failing(authorities.delete('a'), 'authority_not_found');
        expect(await authorities.get('a')).toBeUndefined();
        expect(notified).toEqual([]);
      }),
    );

    it(
      `holds ${MAX_AUTHORITIES}, whoever comes first`,
      using(async (authorities) => {
        const all = Array.from({ length: MAX_AUTHORITIES + 3 }, (_, index) => authorities.put(sample(`a${index}`)));
        const refused = (await Promise.allSettled(all)).filter(({ status }) => status === 'rejected');
        expect(refused).toHaveLength(3);
        expect(refused[0]).toMatchObject({ reason: { code: 'limit_reached' } });
        expect(await authorities.list()).toHaveLength(MAX_AUTHORITIES);
        await authorities.put(sample('a0', { certificate: 'another' }));
        await authorities.delete('a1');
        await authorities.put(sample('again'));
      }),
    );
  });
}
