import { CulvertError } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { certificateAskedCheck, clockCheck, endpointCheck, SET_CLOCK } from './hub-checks.ts';
import type { HubProbe } from './hub-probe.ts';

const NOW = Date.UTC(2026, 0, 1);
const probe = (over: Partial<HubProbe>): HubProbe => ({
  ...{ protocol: 'TLSv1.3', chain: [], ms: 100, status: 200, date: NOW, body: '{}' },
  ...over,
});

describe('the clock', () => {
  const check = (offsetMs: number) => clockCheck(probe({}), NOW + 550 + offsetMs);

  it.each([
    [0, 0, undefined],
    [29_000, 29, undefined],
    [-29_000, -29, undefined],
    [30_000, 30, true],
    [-299_000, -299, true],
    // A wrong clock alone is only a warning: anything that it breaks fails in a check of its own.
    [7_200_000, 7_200, true],
    [-7_200_000, -7_200, true],
  ])('%i ms off is %i s and a warning: %s', (offset, seconds, warning) => {
    const found = check(offset);
    expect(found.data).toEqual({ seconds });
    expect(found.warning).toBe(warning);
  });

  it('says which way it is off, and what to do', () => {
    expect(check(300_000)).toMatchObject({ found: 'this clock is 300 s ahead of the hub’s', advice: SET_CLOCK });
    expect(check(-400_000).found).toMatch(/400 s behind/);
  });
});

describe('a certificate of the device’s own', () => {
  const check = (clientCertificates: readonly string[] | undefined) =>
    certificateAskedCheck(
      probe({ body: JSON.stringify({ hostName: 'h', streamingEndpoints: [], clientCertificates }) }),
      'Iot.Example',
    );

  it('is asked for where the hub says so', () => {
    expect(check(['listen'])?.warning).toBeUndefined();
    expect(check(['mqttListen', 'iot.example'])?.warning).toBeUndefined();
    expect(() => check([])).toThrow(/does not ask for a certificate anywhere/);
    expect(() => check(['mqttListen'])).toThrow(/here, only at mqttListen/);
    expect(check(undefined)).toBeUndefined();
  });
});

describe('what answers', () => {
  it.each([
    [200, '<html>Log in to the hotel</html>'],
    [302, ''],
    [200, '{"hostName":1}'],
    [200, 'null'],
  ])('%i %s is no hub', (status, body) => {
    expect(() => endpointCheck(probe({ status, body }))).toThrow(CulvertError);
  });
});
