import { CulvertError } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { type Deferred, deferred } from '../deferred.ts';
import { Openings } from './openings.ts';

const NEVER = new AbortController().signal;

describe('openings', () => {
  it('are limited in number, and the others wait in order of arrival, without those that gave up', async () => {
    const openings = new Openings(2);
    const begun: { name: string; opening: Deferred<string> }[] = [];
    const ask = (name: string, signal = NEVER): Promise<string> =>
      openings.run(signal, () => {
        const opening = deferred<string>();
        begun.push({ name, opening });
        return opening.promise;
      });
    const names = () => begun.map(({ name }) => name);
    const leaving = new AbortController();
    const asked = [ask('a'), ask('b'), ask('c', leaving.signal), ask('d'), ask('e')];
    expect(names()).toEqual(['a', 'b']);
    leaving.abort(new CulvertError('aborted'));
    await expect(asked[2]).rejects.toMatchObject({ code: 'aborted' });
    begun[0]?.opening.reject(new CulvertError('device_offline'));
    await expect(asked[0]).rejects.toMatchObject({ code: 'device_offline' });
    expect(names()).toEqual(['a', 'b', 'd']);
    begun[1]?.opening.resolve('b is open');
    expect(await asked[1]).toBe('b is open');
    expect(names()).toEqual(['a', 'b', 'd', 'e']);
    for (const { name, opening } of begun.slice(2)) opening.resolve(`${name} is open`);
    expect(await Promise.all(asked.slice(3))).toEqual(['d is open', 'e is open']);
    const later = ask('f');
    expect(names().at(-1)).toBe('f');
    begun.at(-1)?.opening.resolve('');
    await later;
  });
});
