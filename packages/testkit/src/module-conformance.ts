import type { Expectation, IdentityRecord, Registry } from '@culvert/hub';
import { sampleDevice, sampleModule } from './sample-records.ts';

/**
 * Turns `use` into a test function: the test runs `use` with an empty registry and with `notified`, the changes reported to the registry's listener so far,
 * each with the identity's name.
 */
export type UseRegistry = (
  use: (registry: Registry, notified: readonly [string, IdentityRecord | undefined][]) => Promise<void>,
) => () => Promise<void>;

type Vitest = Pick<typeof import('vitest'), 'it' | 'expect'>;

const ABSENT: Expectation = { kind: 'absent' };
const PRESENT: Expectation = { kind: 'present' };

/** The maximum number of modules per device in a registry. */
const MAX_MODULES = 50;

/** Defines the tests with modules that every registry must pass. */
export function moduleConformance({ it, expect }: Vitest, using: UseRegistry): void {
  const failing = (promise: Promise<unknown>, code: string) => expect(promise).rejects.toMatchObject({ code });

  it(
    'keeps every field of a module as it was given, and every kind of authentication',
    using(async (registry) => {
      await registry.put(sampleDevice('d'), ABSENT);
      const kinds: readonly IdentityRecord['authentication'][] = [
        { type: 'sas', primaryKey: 'AAAA', secondaryKey: 'BBBB' },
        { type: 'selfSigned', primaryThumbprint: 'AB'.repeat(20), secondaryThumbprint: '' },
        { type: 'selfSigned', primaryThumbprint: '', secondaryThumbprint: 'CD'.repeat(32) },
        { type: 'certificateAuthority' },
        { type: 'none' },
      ];
      for (const [index, authentication] of kinds.entries()) {
        const given = sampleModule('d', `$(m);'${index}`, { authentication, managedBy: index === 0 ? null : 'Müller' });
        const stored = await registry.put(given, ABSENT);
        expect(stored).toEqual({ ...given, etag: stored.etag });
        expect(await registry.get(given)).toEqual(stored);
        const device = await registry.put(sampleDevice('d', { authentication, iotEdge: index > 1 }), PRESENT);
        expect(await registry.get({ deviceId: 'd' })).toEqual(device);
      }
    }),
  );

  it(
    'tells a module from its device, from other cases of its id and from those of other devices',
    using(async (registry) => {
      await registry.put(sampleDevice('d'), ABSENT);
      await registry.put(sampleDevice('e'), ABSENT);
      const module = await registry.put(sampleModule('d', 'm'), ABSENT);
      expect(await registry.get({ deviceId: 'd', moduleId: 'm' })).toEqual(module);
      for (const identity of [
        { deviceId: 'd', moduleId: 'M' },
        { deviceId: 'e', moduleId: 'm' },
      ])
        expect(await registry.get(identity)).toBeUndefined();
      expect((await registry.get({ deviceId: 'd' }))?.moduleId).toBeUndefined();
      expect(await registry.count()).toEqual({ total: 2, disabled: 0 });
      expect((await registry.list({ limit: 10 })).map(({ deviceId }) => deviceId)).toEqual(['d', 'e']);
    }),
  );

  it(
    'writes and deletes a module only as the writer expects to find it',
    using(async (registry) => {
      const module = sampleModule('d', 'm');
      for (const expected of [ABSENT, PRESENT]) await failing(registry.put(module, expected), 'device_not_found');
      await failing(registry.delete(module, PRESENT), 'device_not_found');
      await failing(registry.modules('d'), 'device_not_found');
      await registry.put(sampleDevice('d'), ABSENT);
      await failing(registry.put(module, PRESENT), 'module_not_found');
      await failing(registry.put(module, { kind: 'etag', etag: 'x' }), 'module_not_found');
      await failing(registry.delete(module, PRESENT), 'module_not_found');
      const first = await registry.put(module, ABSENT);
      await failing(registry.put(module, ABSENT), 'module_exists');
      const second = await registry.put(module, PRESENT);
      expect(second.etag).not.toBe(first.etag);
      const stale: Expectation = { kind: 'etag', etag: first.etag };
      await failing(registry.put(module, stale), 'precondition_failed');
      await failing(registry.delete(module, stale), 'precondition_failed');
      const third = await registry.put(module, { kind: 'etag', etag: second.etag });
      expect(await registry.get(module)).toEqual(third);
      await registry.delete(module, { kind: 'etag', etag: third.etag });
      expect(await registry.get(module)).toBeUndefined();
    }),
  );

  it(
    'lists the modules of a device in the order of code units',
    using(async (registry) => {
      await registry.put(sampleDevice('d'), ABSENT);
      await registry.put(sampleDevice('d2'), ABSENT);
      await registry.put(sampleModule('d2', 'other'), ABSENT);
      expect(await registry.modules('d')).toEqual([]);
      const ids = ['b', '$edgeHub', 'a', 'B', 'a-b', 'aB', 'a_b', '!'];
      await Promise.all(ids.map((id) => registry.put(sampleModule('d', id), ABSENT)));
      const wanted = ids.toSorted((a, b) => (a < b ? -1 : 1));
      expect((await registry.modules('d')).map(({ moduleId }) => moduleId)).toEqual(wanted);
    }),
  );

  it(
    `holds ${MAX_MODULES} modules of a device, whoever comes first`,
    using(async (registry) => {
      await registry.put(sampleDevice('d'), ABSENT);
      await registry.put(sampleDevice('e'), ABSENT);
      const all = Array.from({ length: MAX_MODULES + 5 }, (_, index) =>
        registry.put(sampleModule('d', `m${index}`), ABSENT),
      );
      const refused = (await Promise.allSettled(all)).filter(({ status }) => status === 'rejected');
      expect(refused).toHaveLength(5);
      expect(refused[0]).toMatchObject({ reason: { code: 'limit_reached' } });
      expect(await registry.modules('d')).toHaveLength(MAX_MODULES);
      // A change of a module is possible at the limit, and the modules of another device do not count.
      await registry.put(sampleModule('d', 'm0', { managedBy: null }), PRESENT);
      await registry.put(sampleModule('e', 'm'), ABSENT);
      await registry.delete({ deviceId: 'd', moduleId: 'm1' }, PRESENT);
      await registry.put(sampleModule('d', 'again'), ABSENT);
    }),
  );

  it(
    'lets the modules go with their device, and no others',
    using(async (registry, notified) => {
      for (const id of ['d', 'd2']) {
        await registry.put(sampleDevice(id), ABSENT);
        await registry.put(sampleModule(id, 'm'), ABSENT);
      }
      await registry.put(sampleDevice('d', { status: 'disabled' }), PRESENT);
      expect(await registry.modules('d')).toHaveLength(1);
      await registry.delete({ deviceId: 'd' }, PRESENT);
      expect(await registry.get({ deviceId: 'd', moduleId: 'm' })).toBeUndefined();
      await registry.put(sampleDevice('d'), ABSENT);
      expect(await registry.modules('d')).toEqual([]);
      expect(await registry.modules('d2')).toHaveLength(1);
      expect(notified.map(([name, record]) => `${record === undefined ? '-' : '+'}${name}`)).toEqual([
        '+d',
        '+d/m',
        '+d2',
        '+d2/m',
        '+d',
        // Deleting a device causes one notification for the device and none for its modules.
        '-d',
        '+d',
      ]);
    }),
  );
}
