import { describe, expect, it } from 'vitest';
import { RecordCache } from './record-cache.ts';

/** A store of one record, whose answers come when they are let through. */
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

async function read(cache: RecordCache<string>, store: ReturnType<typeof source>): Promise<string | undefined> {
  const reading = cache.read('k', store.load);
  store.answer();
  return reading;
}

describe('the cache of records', () => {
  it('asks once for what exists, and each time for what does not', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    expect([await read(cache, store), await read(cache, store)]).toEqual(['a', 'a']);
    expect(store.asked).toBe(1);
    const empty = source(undefined);
    const other = new RecordCache<string>();
    expect([await read(other, empty), await read(other, empty)]).toEqual([undefined, undefined]);
    expect(empty.asked).toBe(2);
  });

  it('asks anew from the moment a write begins, and keeps nothing while one is under way', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    await read(cache, store);
    let written = (): void => undefined;
    const writing = cache.write(
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

  it('does not keep what was read before a write and answered after it', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    const early = cache.read('k', store.load);
    store.value = 'b';
    await cache.write(() => Promise.resolve());
    store.answer();
    expect(await early).toBe('a');
    expect(await read(cache, store)).toBe('b');
  });

  it('forgets after a write that failed, too', async () => {
    const cache = new RecordCache<string>();
    const store = source('a');
    await read(cache, store);
    await expect(cache.write(() => Promise.reject(new Error('full')))).rejects.toThrow('full');
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
