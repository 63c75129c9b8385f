import { describe, expect, it } from 'vitest';
import { pairs, table } from './standard-output.ts';

describe('tables', () => {
  it('align, and cannot steer a terminal', () => {
    expect(
      table(
        ['DEVICE', 'STATUS'],
        [
          ['a\u001b[2J', 'x'],
          ['longer-name', ''],
        ],
      ),
    ).toBe('DEVICE       STATUS\na\\u001b[2J   x\nlonger-name\n');
    expect(
      pairs([
        ['A', '1'],
        ['Long', '2\n3'],
      ]),
    ).toBe('A     1\nLong  2\\u000a3\n');
  });
});
