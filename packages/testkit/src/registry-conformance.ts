import type { Expectation, IdentityRecord, Registry, RegistryListener } from '@culvert/hub';
import { identityName } from '@culvert/protocol';
import { moduleConformance, type UseRegistry } from './module-conformance.ts';
import { sampleDevice } from './sample-records.ts';

/** An empty registry for one test, with a function that closes it. */
export interface RegistryUnderTest {
  readonly registry: Registry;
  close(): Promise<void>;
}

type Vitest = Pick<typeof import('vitest'), 'describe' | 'it' | 'expect'>;

const ABSENT: Expectation = { kind: 'absent' };
const PRESENT: Expectation = { kind: 'present' };

/**
 * Defines the tests that every registry must pass, for any kind of storage. Call it at the top level of a test file.
 * @param vitest `describe`, `it` and `expect` of the test file; they are passed in so that this package can be loaded outside of tests too
 */
export function registryConformance(
  vitest: Vitest,
  make: (listener: RegistryListener) => Promise<RegistryUnderTest>,
): void {
  const using: UseRegistry = (use) => async () => {
    const notified: [string, IdentityRecord | undefined][] = [];
    const { registry, close } = await make({
      identityChanged: (identity, record) => notified.push([identityName(identity), record]),
      policyChanged: () => {},
      authoritiesChanged: () => {},
    });
    try {
      await use(registry, notified);
    } finally {
      await close();
    }
  };
  vitest.describe('a registry', () => {
    writing(vitest, using);
    racing(vitest, using);
    listing(vitest, using);
    moduleConformance(vitest, using);
  });
}

function writing({ it, expect }: Vitest, using: UseRegistry): void {
  const failing = (promise: Promise<unknown>, code: string) => expect(promise).rejects.toMatchObject({ code });

  it(
    'keeps every field of a record as it was given',
    using(async (registry) => {
      const given = sampleDevice("-a;b=$(c)'d", { status: 'disabled', statusReason: 'gestohlen: Müller & Söhne' });
      const stored = await registry.put(given, ABSENT);
      expect(stored).toEqual({ ...given, etag: stored.etag });
      expect(await registry.get(given)).toEqual(stored);
      expect(await registry.get({ deviceId: '-A;B=$(C)' })).toBeUndefined();
    }),
  );

  it(
    'writes only what the writer expects to find',
    using(async (registry) => {
      await failing(registry.put(sampleDevice('d'), PRESENT), 'device_not_found');
      await failing(registry.put(sampleDevice('d'), { kind: 'etag', etag: 'x' }), 'device_not_found');
      const first = await registry.put(sampleDevice('d'), ABSENT);
      await failing(registry.put(sampleDevice('d'), ABSENT), 'device_exists');
      const second = await registry.put(sampleDevice('d'), PRESENT);
      expect(second.etag).not.toBe(first.etag);
      await failing(registry.put(sampleDevice('d'), { kind: 'etag', etag: first.etag }), 'precondition_failed');
      const third = await registry.put(sampleDevice('d'), { kind: 'etag', etag: second.etag });
      expect(await registry.get({ deviceId: 'd' })).toEqual(third);
    }),
  );

  it(
    'deletes only what the deleter expects to find',
    using(async (registry) => {
      await failing(registry.delete({ deviceId: 'd' }, PRESENT), 'device_not_found');
      const { etag } = await registry.put(sampleDevice('d'), ABSENT);
      await failing(registry.delete({ deviceId: 'd' }, { kind: 'etag', etag: `${etag}x` }), 'precondition_failed');
      await registry.delete({ deviceId: 'd' }, { kind: 'etag', etag });
      expect(await registry.get({ deviceId: 'd' })).toBeUndefined();
      await registry.put(sampleDevice('d'), ABSENT);
      await registry.delete({ deviceId: 'd' }, PRESENT);
      expect(await registry.get({ deviceId: 'd' })).toBeUndefined();
    }),
  );

  it(
    'tells its listener what changed and nothing of what failed',
    using(async (registry, notified) => {
      const stored = await registry.put(sampleDevice('d'), ABSENT);
      await failing(registry.put(sampleDevice('d'), ABSENT), 'device_exists');
      await failing(registry.delete({ deviceId: 'e' }, PRESENT), 'device_not_found');
      await registry.delete({ deviceId: 'd' }, PRESENT);
      expect(notified).toEqual([
        ['d', stored],
        ['d', undefined],
      ]);
    }),
  );
}

function racing({ it, expect }: Vitest, using: UseRegistry): void {
  it(
    'lets one of many writers of the same version win',
    using(async (registry) => {
      const { etag } = await registry.put(sampleDevice('d'), ABSENT);
      const writes = Array.from({ length: 50 }, (_, n) =>
        registry.put(sampleDevice('d', { updatedAt: n }), { kind: 'etag', etag }),
      );
      const won = (await Promise.allSettled(writes)).filter((result) => result.status === 'fulfilled');
      expect(won).toHaveLength(1);
      expect(await registry.get({ deviceId: 'd' })).toEqual(won[0]?.value);
    }),
  );

  it(
    'keeps what was written beside a write that failed',
    using(async (registry) => {
      await registry.put(sampleDevice('taken'), ABSENT);
      const ids = ['a', 'taken', 'b', 'taken', 'c'];
      const results = await Promise.allSettled(ids.map((id) => registry.put(sampleDevice(id), ABSENT)));
      expect(results.map(({ status }) => status === 'fulfilled')).toEqual([true, false, true, false, true]);
      expect((await registry.list({ limit: 10 })).map(({ deviceId }) => deviceId)).toEqual(['a', 'b', 'c', 'taken']);
    }),
  );

  it(
    'answers calls in the order they were made',
    using(async (registry) => {
      const [before, stored, after, , gone] = await Promise.all([
        registry.get({ deviceId: 'd' }),
        registry.put(sampleDevice('d'), ABSENT),
        registry.get({ deviceId: 'd' }),
        registry.delete({ deviceId: 'd' }, PRESENT),
        registry.get({ deviceId: 'd' }),
      ]);
      expect([before, after, gone]).toEqual([undefined, stored, undefined]);
    }),
  );
}

function listing({ it, expect }: Vitest, using: UseRegistry): void {
  it(
    'lists in the order of code units, page by page, each device once',
    using(async (registry) => {
      const ids = [..."!#$%()*+,-.:;=?@AZ_az019'", 'a', 'aa', 'aB', 'a-b', 'a_b', 'x'.repeat(128)];
      const wanted = [...new Set(ids)].sort((a, b) => (a < b ? -1 : 1));
      await Promise.all(wanted.toReversed().map((id) => registry.put(sampleDevice(id), ABSENT)));
      const seen: string[] = [];
      for (let page = await registry.list({ limit: 4 }); page.length > 0; ) {
        seen.push(...page.map(({ deviceId }) => deviceId));
        const after = seen.at(-1) ?? '';
        // The next page must be correct even if the last device of this page is deleted before it is requested.
        await registry.delete({ deviceId: after }, PRESENT);
        page = await registry.list({ after, limit: 4 });
      }
      expect(seen).toEqual(wanted);
    }),
  );

  it(
    'counts all and the disabled ones',
    using(async (registry) => {
      expect(await registry.count()).toEqual({ total: 0, disabled: 0 });
      await registry.put(sampleDevice('a'), ABSENT);
      await registry.put(sampleDevice('b', { status: 'disabled' }), ABSENT);
      expect(await registry.count()).toEqual({ total: 2, disabled: 1 });
      await registry.put(sampleDevice('a', { status: 'disabled' }), PRESENT);
      await registry.put(sampleDevice('a', { status: 'disabled', statusReason: 'again' }), PRESENT);
      expect(await registry.count()).toEqual({ total: 2, disabled: 2 });
      await registry.put(sampleDevice('b'), PRESENT);
      await registry.delete({ deviceId: 'a' }, PRESENT);
      expect(await registry.count()).toEqual({ total: 1, disabled: 0 });
    }),
  );
}
