import { describe, expect, it } from 'vitest';
import { parseHubConfig } from './config.ts';

describe('a mistake in the configuration', () => {
  it.each([
    [{ listn: ':443' }, "there is no key 'listn' (did you mean 'listen'?)"],
    [{ mqttlisten: ':8883' }, "there is no key 'mqttlisten' (did you mean 'mqttListen'?)"],
    [{ limits: { idleMS: 1 } }, "there is no key 'limits.idleMS' (did you mean 'idleMs'?)"],
    [{ tls: { certfile: 'a', keyFile: 'b' } }, 'tls.certFile: '],
    [{ log: { levl: 'info' } }, "there is no key 'log.levl' (did you mean 'level'?)"],
    [{ elephants: 1 }, "there is no key 'elephants'."],
  ])('%j names the key, and the one that was meant', (input, message) => {
    expect(() => parseHubConfig({ dataDir: '/d', ...input })).toThrow(message);
  });
});
