import { CulvertError } from '@culvert/protocol';
import { FakeClock, startHub } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { Readiness } from '../src/listeners/readiness.ts';
import type { PolicyRecord, PolicyStore } from '../src/registry/registry.ts';

const store = (get: PolicyStore['get']) => ({
  policies: {
    get,
    lookup: () => Promise.reject(new CulvertError('internal')),
    list: () => Promise.resolve([]),
    rotate: () => Promise.reject(new CulvertError('internal')),
  },
});
const policy: PolicyRecord = { name: 'service', permissions: [], primaryKey: '', secondaryKey: '' };

describe('/readyz', () => {
  it('says in a word why a hub takes no streams: starting, then nothing, then draining', async () => {
    const clock = new FakeClock();
    const readiness = new Readiness(clock);
    expect(await readiness.check()).toBe('starting');
    readiness.up(store(() => Promise.resolve(policy)));
    expect(await readiness.check()).toBeUndefined();
    readiness.drain();
    expect(await readiness.check()).toBe('draining');
    expect(clock.timers).toBe(0);
  });

  it('says registry when the store fails, and when it does not answer for two seconds', async () => {
    const clock = new FakeClock();
    const readiness = new Readiness(clock);
    let asked = 0;
    readiness.up(store(() => Promise.reject(new CulvertError('internal'))));
    expect(await readiness.check()).toBe('registry');
    readiness.up(
      store(() => {
        asked++;
        return new Promise(() => undefined);
      }),
    );
    const probes = [readiness.check(), readiness.check()];
    await clock.advance(2_000);
    expect(await Promise.all(probes)).toEqual(['registry', 'registry']);
    // Concurrent probes share one check.
    expect(asked).toBe(1);
    expect(clock.timers).toBe(0);
  });
});

describe('the admin listener', () => {
  it('answers probes and scrapes while the hub lives, and tells them that it drains', async () => {
    const test = await startHub();
    const { adminAddress } = test.hub;
    const get = async (path: string) => {
      const answer = await fetch(`http://127.0.0.1:${adminAddress.port}${path}`, { headers: { connection: 'close' } });
      return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() };
    };
    expect(await get('/livez')).toMatchObject({ status: 200, text: 'ok\n' });
    expect(await get('/readyz?verbose')).toMatchObject({ status: 200, text: 'ok\n' });
    expect(await get('/nothing')).toMatchObject({ status: 404 });
    await test.createDevice('press-7');
    const scrape = await get('/metrics');
    expect(scrape.type).toContain('text/plain; version=0.0.4');
    expect(scrape.text).toMatch(/^culvert_ready 1$/m);
    expect(scrape.text).toMatch(/^culvert_registry_call_duration_seconds_count [1-9]/m);
    expect(scrape.text).toMatch(/^culvert_certificate_expiry_timestamp_seconds [1-9]/m);
    expect(scrape.text).not.toContain('press-7');
    // A client that keeps its connection open delays the end of the drain until the grace period is over.
    const draining = test.event('hub-draining');
    const stopped = test.stop();
    await draining;
    expect(await get('/readyz')).toEqual({ status: 503, type: 'text/plain; charset=utf-8', text: 'draining\n' });
    expect((await get('/livez')).status).toBe(200);
    await stopped;
  });
});
