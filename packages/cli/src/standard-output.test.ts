import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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

describe('a full disk', () => {
  it('is told in one line', () => {
    const main = fileURLToPath(new URL('./main.fixture.ts', import.meta.url));
    const full = openSync('/dev/full', 'w');
    const state = mkdtempSync(join(tmpdir(), 'culvert-state-'));
    const file = join(state, 'service');
    const key = Buffer.alloc(32).toString('base64');
    writeFileSync(file, `HostName=127.0.0.1:9;SharedAccessKeyName=service;SharedAccessKey=${key}\n`, { mode: 0o600 });
    const { status, stderr } = spawnSync(process.execPath, ['--conditions=development', main, 'ssh-config'], {
      env: { XDG_STATE_HOME: state, CULVERT_CONNECTION_STRING_FILE: file },
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    });
    closeSync(full);
    rmSync(state, { recursive: true });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'culvert: cannot write to standard output: the disk is full\n',
    });
  });
});
