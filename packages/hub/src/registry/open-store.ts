import { CulvertError, type Identity } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { openDataDirectory } from '../storage/data-directory.ts';
import { RecordCache, type WriteScope } from './record-cache.ts';
import type {
  AuthorityStore,
  IdentityRecord,
  PolicyRecord,
  PolicyStore,
  Registry,
  RegistryListener,
  UsageStore,
} from './registry.ts';
import { newKey as randomKey, SHARED_ACCESS_POLICIES } from './shared-access-policies.ts';
import type { PolicyKeys } from './store-calls.ts';
import { StoreThread } from './store-thread.ts';

/** Maximum devices in one page: the result sent between the threads then has at most about 5 MB. */
export const MAX_PAGE = 10_000;

export interface StoreOptions {
  /** The hub's data directory, created with mode 0700 if missing. Contains `registry.db` and `hub.lock`. */
  readonly directory: string;
  /** Notified of each change after it is on disk and before the write's promise resolves. Must not throw. */
  readonly listener: RegistryListener;
  readonly clock: Clock;
  /** Called with the duration of each call in seconds, including its wait for the thread. */
  readonly onCall?: (seconds: number) => void;
  /** Creates a policy's key, in base64. Default: 32 random bytes. */
  readonly newKey?: () => string;
}

/** The embedded store: registry, authorities and policies in one SQLite file, accessed by a worker thread. */
export interface Store {
  readonly registry: Registry;
  readonly authorities: AuthorityStore;
  readonly policies: PolicyStore;
  readonly usage: UsageStore;
  /** Resolves if the store fails while the hub runs; from then on, nothing can be authenticated. Never rejects. */
  readonly failed: Promise<CulvertError>;
  /** Waits for pending calls, then closes the database and unlocks the data directory. */
  close(): Promise<void>;
}

/**
 * Opens the store. On first start, creates it with the shared access policies. The data directory is locked until the store is closed.
 * @throws CulvertError `config_invalid` if the directory cannot be used, another hub uses it, or the database is damaged or of a newer version
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { directory, listener, clock, onCall, newKey = randomKey } = options;
  openDataDirectory(directory);
  const policies = Object.keys(SHARED_ACCESS_POLICIES).map(
    (name): PolicyKeys => ({ name, primaryKey: newKey(), secondaryKey: newKey() }),
  );
  const thread = await StoreThread.start({ directory, policies }, clock);
  const calls = onCall === undefined ? thread : timed(thread, onCall);
  return {
    registry: sqliteRegistry(calls, listener),
    authorities: sqliteAuthorities(calls, listener),
    policies: sqlitePolicies(calls, listener, newKey),
    usage: {
      load: (day) => calls.call({ name: 'usage.load', input: day }),
      async save(day, totals) {
        await calls.call({ name: 'usage.save', input: { day, totals } });
      },
    },
    failed: thread.failed,
    close: () => thread.close(),
  };
}

type Calls = Pick<StoreThread, 'call'>;

function timed(thread: Calls, onCall: (seconds: number) => void): Calls {
  return {
    async call(call) {
      const began = performance.now();
      try {
        return await thread.call(call);
      } finally {
        onCall((performance.now() - began) / 1e3);
      }
    },
  };
}

function sqliteRegistry(thread: Calls, listener: RegistryListener): Registry {
  const cache = new RecordCache<IdentityRecord>();
  const load =
    ({ deviceId, moduleId }: Identity) =>
    () =>
      thread.call({ name: 'identity.get', input: { deviceId, moduleId } });
  return {
    get: (identity) => cache.read(cacheKey(identity), load(identity)),
    lookup: (identity) => cache.lookup(cacheKey(identity), load(identity)),
    remembers: (identity) => cache.remembers(cacheKey(identity)),
    put: (record, expected) =>
      cache.write({ key: cacheKey(record) }, async () => {
        const stored = await thread.call({ name: 'identity.put', input: { record, expected } });
        listener.identityChanged(stored, stored);
        return stored;
      }),
    delete: ({ deviceId, moduleId }, expected) =>
      cache.write(deleteScope({ deviceId, moduleId }), async () => {
        const identity = { deviceId, moduleId };
        await thread.call({ name: 'identity.delete', input: { identity, expected } });
        listener.identityChanged(identity, undefined);
      }),
    async list({ after = '', limit }) {
      if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE)
        throw new CulvertError('argument_invalid', `A page holds 1 to ${MAX_PAGE} devices.`);
      return thread.call({ name: 'device.list', input: { after, limit } });
    },
    modules: (deviceId) => thread.call({ name: 'module.list', input: deviceId }),
    count: () => thread.call({ name: 'device.count', input: undefined }),
  };
}

/**
 * The cache key of an identity. The keys of a device and its modules have a common prefix that no other device's keys have: in JSON the id ends with a
 * quotation mark, which an id cannot contain.
 */
function cacheKey({ deviceId, moduleId }: Identity): string {
  return moduleId === undefined ? devicePrefix(deviceId) : devicePrefix(deviceId) + JSON.stringify(moduleId);
}

function devicePrefix(deviceId: string): string {
  return `${JSON.stringify(deviceId)}/`;
}

/** The cache keys that a delete may change: deleting a device also deletes its modules. */
function deleteScope(identity: Identity): WriteScope {
  return identity.moduleId === undefined ? { prefix: devicePrefix(identity.deviceId) } : { key: cacheKey(identity) };
}

function sqliteAuthorities(thread: Calls, listener: RegistryListener): AuthorityStore {
  return {
    get: (name) => thread.call({ name: 'authority.get', input: name }),
    list: () => thread.call({ name: 'authority.list', input: undefined }),
    async put(record) {
      listener.authoritiesChanged(await thread.call({ name: 'authority.put', input: record }));
    },
    async delete(name) {
      listener.authoritiesChanged(await thread.call({ name: 'authority.delete', input: name }));
    },
  };
}

function sqlitePolicies(thread: Calls, listener: RegistryListener, newKey: () => string): PolicyStore {
  const cache = new RecordCache<PolicyRecord>();
  const load = (name: string) => async () => {
    const keys = await thread.call({ name: 'policy.get', input: name });
    return keys === undefined ? undefined : policy(keys);
  };
  return {
    get: (name) => cache.read(name, load(name)),
    lookup: (name) => cache.lookup(name, load(name)),
    async list() {
      return (await thread.call({ name: 'policy.list', input: undefined })).map(policy);
    },
    rotate: (name) =>
      cache.write({ key: name }, async () => {
        const rotated = policy(await thread.call({ name: 'policy.rotate', input: { name, primaryKey: newKey() } }));
        listener.policyChanged(rotated);
        return rotated;
      }),
  };
}

function policy(keys: PolicyKeys): PolicyRecord {
  return { ...keys, permissions: SHARED_ACCESS_POLICIES[keys.name] ?? [] };
}
