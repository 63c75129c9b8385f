import { describe, expect, it } from 'vitest';
import { RecordCache } from './record-cache.ts';

const KEY = { key: 'k' };

/** A store of one record. Each `answer()` completes the oldest pending load. */
function source(value: string | undefined) {
  const answers: (() => void)[] = [];
  let asked = 0;
  return {
    get asked() {
      return asked;
    },
    set value(next: string | undefined) {
      value = next;
    },
    answer: () => answers.shift()?.(),
    load: () => {
      asked++;
      const read = value;
      return new Promise<string | undefined>((resolve) => answers.push(() => resolve(read)));
    },
  };
}

type Source = ReturnType<typeof source>;

async function read(cache: RecordCache<string>, store: Source, key = 'k'): Promise<string | undefined> {
  const reading = cache.read(key, store.load);
  store.answer();
  return reading;
}

/** Looks a record up for a client that is then refused. Returns the number of loads that this caused. */
async function refuse(cache: RecordCache<string>, store: Source, key = 'k'): Promise<number> {
  const before = store.asked;
  const looking = cache.lookup(key, store.load);
  store.answer();
  const refused = (await looking).refused();
  store.answer();
  await refused;
  return store.asked - before;
}

describe('the cache of records', () => {
  it('asks once for what exists', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    expect([await read(cache, store), await read(cache, store)]).toEqual(['a', 'a']);
    expect(store.asked).toBe(1);
  });

  it('asks again from the moment a write of it begins, and keeps nothing of it while one is under way', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    await read(cache, store);
    let written = (): void => undefined;
    const writing = cache.write(
      KEY,
      () =>
        new Promise<void>((resolve) => {
          written = resolve;
        }),
    );
    expect([await read(cache, store), await read(cache, store)]).toEqual(['a', 'a']);
    expect(store.asked).toBe(3);
    store.value = 'b';
    written();
    await writing;
    expect([await read(cache, store), await read(cache, store)]).toEqual(['b', 'b']);
    expect(store.asked).toBe(4);
  });

  it('keeps all others through a write, those whose answer is on its way too', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    await read(cache, store, 'other');
    const underWay = cache.read('third', store.load);
    await cache.write(KEY, () => Promise.resolve());
    store.answer();
    await underWay;
    await read(cache, store, 'other');
    await read(cache, store, 'third');
    expect(store.asked).toBe(2);
  });

  it('forgets all that begin alike after a write of those', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    for (const key of ['d/', 'd/m', 'dd/']) await read(cache, store, key);
    await cache.write({ prefix: 'd/' }, () => Promise.resolve());
    for (const key of ['d/', 'd/m', 'dd/']) await read(cache, store, key);
    expect(store.asked).toBe(5);
  });

  it('does not keep what was read before a write and answered after it', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    const early = cache.read('k', store.load);
    store.value = 'b';
    await cache.write(KEY, () => Promise.resolve());
    const late = cache.read('k', store.load);
    store.answer();
    expect(await early).toBe('a');
    store.answer();
    expect([await late, await read(cache, store)]).toEqual(['b', 'b']);
    expect(store.asked).toBe(2);
  });

  it('forgets after a write that failed, too', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    await read(cache, store);
    await expect(cache.write(KEY, () => Promise.reject(new Error('full')))).rejects.toThrow('full');
    await read(cache, store);
    expect(store.asked).toBe(2);
  });

  it('holds no more than 4,096 records', async () => {
    const cache = new RecordCache<string>();
    let asked = 0;
    const load = () => {
      asked++;
      return Promise.resolve('x');
    };
    for (let n = 0; n < 4_097; n++) await cache.read(`k${n}`, load);
    await cache.read('k4096', load);
    expect(asked).toBe(4_097);
    await cache.read('k0', load);
    expect(asked).toBe(4_098);
  });
});

describe('what somebody was refused for', () => {
  it.each([
    ['exists and was read lately', 'a', true],
    ['exists and was not', 'a', false],
    ['does not exist', undefined, false],
    ['does not exist, which was read lately', undefined, true],
  ] as const)('costs one question to the store and then none: it %s', async (_what, value, wasRead) => {
    const cache = new RecordCache<string>();
    const store = source(value);
    if (wasRead) await read(cache, store);
    expect([await refuse(cache, store), await refuse(cache, store), await refuse(cache, store)]).toEqual([1, 0, 0]);
  });

  it('is forgotten by a write alike, and asked for again', async () => {
    for (const value of ['a', undefined]) {
      const cache = new RecordCache<string>();
      const store = source(value);
      await refuse(cache, store);
      await cache.write(KEY, () => Promise.resolve());
      expect([await refuse(cache, store), await refuse(cache, store)]).toEqual([1, 0]);
      store.value = 'created since';
      await cache.write({ prefix: '' }, () => Promise.resolve());
      expect(await read(cache, store)).toBe('created since');
    }
  });

  it('is not kept when it was written while it was asked for', async () => {
    const cache = new RecordCache<string>();
    const store = source(undefined);
    const early = cache.lookup('k', store.load);
    store.value = 'b';
    await cache.write(KEY, () => Promise.resolve());
    store.answer();
    expect((await early).record).toBeUndefined();
    const later = cache.lookup('k', store.load);
    store.answer();
    expect((await later).record).toBe('b');
  });

  it('drives no record out, however many ids are made up, and existing and absent ids are forgotten alike', async () => {
    const cache = new RecordCache<string>();
    let asked = 0;
    const load = (value: string | undefined) => () => {
      asked++;
      return Promise.resolve(value);
    };
    await cache.read('real', load('a'));
    await (await cache.lookup('real', load('a'))).refused();
    await (await cache.lookup('absent', load(undefined))).refused();
    for (let n = 0; n < 4_096; n++) await (await cache.lookup(`made up ${n}`, load(undefined))).refused();
    asked = 0;
    await cache.read('real', load('a'));
    expect(asked).toBe(0);
    await (await cache.lookup('real', load('a'))).refused();
    expect(asked).toBe(1);
    await (await cache.lookup('absent', load(undefined))).refused();
    expect(asked).toBe(2);
  });
});
