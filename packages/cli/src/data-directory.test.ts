import { describe, expect, it } from 'vitest';
import { defaultDataDirectory, stateDirectory } from './data-directory.ts';

describe('directories', () => {
  it('are the system’s for root and the user’s for others', () => {
    expect(defaultDataDirectory({ XDG_DATA_HOME: '/x' }, 0, '/root')).toBe('/var/lib/culvert');
    expect(defaultDataDirectory({}, 1000, '/home/a')).toBe('/home/a/.local/share/culvert');
    expect(defaultDataDirectory({ XDG_DATA_HOME: '/x' }, 1000, '/home/a')).toBe('/x/culvert');
    expect(defaultDataDirectory({ XDG_DATA_HOME: 'relative' }, undefined, '/home/a')).toBe(
      '/home/a/.local/share/culvert',
    );
    expect(stateDirectory({}, '/home/a')).toBe('/home/a/.local/state/culvert');
  });
});
