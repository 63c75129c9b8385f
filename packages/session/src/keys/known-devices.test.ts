import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@culvert/stream';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Fingerprint } from './fingerprint.ts';
import { KnownDevices, keyChanged } from './known-devices.ts';

const A: Fingerprint = `SHA256:${'A'.repeat(43)}`;
const B: Fingerprint = `SHA256:${'E'.repeat(43)}`;
const press = { hub: 'hub.example.com', deviceId: 'press-7' };

let directory: string;
let file: string;
let devices: KnownDevices;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-known-'));
  file = join(directory, 'culvert', 'known_devices');
  devices = new KnownDevices(file, new FakeClock());
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Writes the file as a user might. */
async function write(text: string): Promise<void> {
  await devices.add({ hub: 'first', deviceId: 'makes-the-directory' }, A);
  writeFileSync(file, text);
}

describe('pins', () => {
  it('are made at first use, match afterwards, and tell of another key', async () => {
    expect(await devices.check(press, A)).toEqual({ verdict: 'first-use' });
    expect(await devices.list()).toEqual([]);
    expect(await devices.checkOrPin(press, A)).toEqual({ verdict: 'first-use' });
    const pin = { ...press, fingerprint: A, since: '2026-01-01T00:00:00.000Z' };
    expect(await devices.checkOrPin(press, A)).toEqual({ verdict: 'match', pin });
    expect(await devices.checkOrPin(press, B)).toEqual({ verdict: 'changed', pin });
    expect(await devices.list()).toEqual([pin]);
    expect(readFileSync(file, 'utf8')).toBe(`hub.example.com press-7 ${A} 2026-01-01T00:00:00.000Z\n`);
    expect([statSync(file).mode & 0o777, statSync(join(directory, 'culvert')).mode & 0o777]).toEqual([0o600, 0o700]);
    expect(readdirSync(join(directory, 'culvert'))).toEqual(['known_devices']);
  });

  it('belong to one hub, device and module each', async () => {
    const names = [
      press,
      { ...press, moduleId: 'plc' },
      { ...press, moduleId: '-' },
      { ...press, deviceId: '-' },
      { ...press, deviceId: '#1' },
      { ...press, hub: 'hub.example.com:8443' },
      { ...press, hub: '[::1]:8443' },
    ];
    for (const [index, name] of names.entries()) await devices.add(name, index % 2 === 0 ? A : B);
    for (const [index, name] of names.entries())
      expect(await devices.find(name)).toMatchObject({ ...name, fingerprint: index % 2 === 0 ? A : B });
    expect(await devices.list()).toHaveLength(names.length);
    expect(await devices.find({ ...press, hub: 'HUB.Example.com' })).toMatchObject({ fingerprint: A });
  });

  it('are added, replaced and forgotten', async () => {
    expect(await devices.add(press, A)).toBeUndefined();
    expect(await devices.add(press, B)).toMatchObject({ fingerprint: A });
    expect(await devices.find(press)).toMatchObject({ fingerprint: B });
    expect(await devices.forget(press)).toMatchObject({ fingerprint: B });
    expect(await devices.forget(press)).toBeUndefined();
    expect(await devices.checkOrPin(press, A)).toEqual({ verdict: 'first-use' });
  });

  it('leave comments and blank lines where they are', async () => {
    await write(`# presses\n\nHub.Example.com\tpress-7  ${A} 2026-01-01\r\n# lathes\n`);
    expect(await devices.find(press)).toMatchObject({ fingerprint: A });
    await devices.add({ ...press, deviceId: 'lathe-1' }, B);
    expect(readFileSync(file, 'utf8')).toBe(
      `# presses\n\nHub.Example.com\tpress-7  ${A} 2026-01-01\n# lathes\nhub.example.com lathe-1 ${B} 2026-01-01T00:00:00.000Z\n`,
    );
    await devices.forget(press);
    expect(readFileSync(file, 'utf8')).toMatch(/^# presses\n\n# lathes\nhub/);
  });

  it.each([
    ['hub.example.com press-7', /^Line 2 of .* is not HUB DEVICE/],
    [`hub.example.com press-7 ${A.slice(0, -1)} 2026-01-01`, /^Line 2 of/],
    [`hub.example.com press-7/a/b ${A} 2026-01-01`, /^Line 2 of/],
    [`hub.example.com press-7 ${A} yesterday`, /^Line 2 of/],
    [`hub.example.com press-7 ${A} 2026-01-01 more`, /^Line 2 of/],
    [`hub.example.com press/ ${A} 2026-01-01`, /^Line 2 of/],
    ['\u001b[2J', /^Line 2 of .*: \\u001b\[2J\. Correct or delete it\.$/],
    [`a b ${A} 2026-01-01\nA b ${B} 2026-01-01`, /^Lines 2 and 3 of .* name the same device/],
  ])('are not used at all when a line cannot be read: %j', async (line, message) => {
    const content = `# comment\n${line}\n`;
    await write(content);
    const problem = { code: 'config_invalid', message: expect.stringMatching(message) };
    await expect(devices.checkOrPin({ ...press, deviceId: 'other' }, A)).rejects.toMatchObject(problem);
    await expect(devices.add(press, A)).rejects.toMatchObject(problem);
    await expect(devices.list()).rejects.toMatchObject(problem);
    expect(readFileSync(file, 'utf8')).toBe(content);
  });

  it('are not written for names that could not be read again', async () => {
    for (const name of [
      { ...press, hub: 'a b' },
      { ...press, hub: '#hub' },
      { ...press, hub: '' },
      { ...press, deviceId: 'a/b/c' },
    ])
      await expect(devices.add(name, A)).rejects.toMatchObject({ code: 'argument_invalid' });
  });

  it('are at most 10,000', async () => {
    const lines = Array.from({ length: 10_000 }, (_, index) => `h d-${index} ${A} 2026-01-01\n`);
    await write(lines.join(''));
    expect(await devices.checkOrPin({ hub: 'h', deviceId: 'd-77' }, A)).toMatchObject({ verdict: 'match' });
    await expect(devices.checkOrPin(press, A)).rejects.toMatchObject({ code: 'limit_reached' });
    expect(await devices.add({ hub: 'h', deviceId: 'd-77' }, B)).toMatchObject({ fingerprint: A });
    await devices.forget({ hub: 'h', deviceId: 'd-78' });
    expect(await devices.checkOrPin(press, A)).toEqual({ verdict: 'first-use' });
    writeFileSync(file, `${lines.join('')}h one-more ${A} 2026-01-01\n`);
    await expect(devices.list()).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('10000'),
    });
    writeFileSync(file, '#'.repeat(4_194_305));
    await expect(devices.list()).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('larger'),
    });
  });

  it('stay where a symbolic link leads, and the link stays', async () => {
    await write('');
    const link = join(directory, 'link');
    symlinkSync(file, link);
    await new KnownDevices(link, new FakeClock()).add(press, A);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(await devices.find(press)).toMatchObject({ fingerprint: A });
  });

  it('that cannot be written say so in one line', async () => {
    writeFileSync(join(directory, 'culvert'), '');
    await expect(devices.add(press, A)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/^Cannot (read|write) .*known_devices: .*\.$/),
    });
  });
});

describe('programs that pin at the same time', () => {
  const program = fileURLToPath(new URL('./pin-devices.fixture.ts', import.meta.url));

  it('lose nothing', async () => {
    const codes = await Promise.all(
      ['a', 'b', 'c'].map(async (prefix) => {
        const args = ['--conditions=development', program, file, prefix, '20', A];
        const [code] = await once(spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] }), 'exit');
        return code;
      }),
    );
    expect(codes).toEqual([0, 0, 0]);
    expect(await devices.list()).toHaveLength(60);
    expect(readdirSync(join(directory, 'culvert'))).toEqual(['known_devices']);
  });

  it('with different keys of one device agree on one of them', async () => {
    const one = new KnownDevices(file, systemClock);
    const other = new KnownDevices(file, systemClock);
    const verdicts = await Promise.all([one.checkOrPin(press, A), other.checkOrPin(press, B)]);
    expect(verdicts.map(({ verdict }) => verdict).sort()).toEqual(['changed', 'first-use']);
  });

  it('wait for each other, and take the lock of one that was killed after five seconds', async () => {
    const clock = new FakeClock();
    const waiting = new KnownDevices(file, clock);
    await devices.add(press, A);
    writeFileSync(`${file}.lock`, 'a program that was killed');
    let isDone = false;
    const added = waiting.add(press, B).then(() => {
      isDone = true;
    });
    while (!isDone) {
      if (clock.timers > 0) await clock.advance(20);
      else await new Promise((resolve) => setImmediate(resolve));
      if (clock.now() - Date.UTC(2026, 0, 1) < 5_000) expect(isDone).toBe(false);
    }
    await added;
    expect(await devices.find(press)).toMatchObject({ fingerprint: B });
    expect(readdirSync(join(directory, 'culvert'))).toEqual(['known_devices']);
  });
});

it('the error for a changed key shows both fingerprints and what to do, in one line', () => {
  const error = keyChanged({ ...press, moduleId: 'plc', fingerprint: A, since: '2026-01-01T00:00:00.000Z' }, B);
  expect(error.code).toBe('key_changed');
  expect(error.message).toMatch(/press-7\/plc at hub\.example\.com HAS CHANGED/);
  expect(error.message).toContain(A);
  expect(error.message).toContain(B);
  expect(error.message).not.toContain('\n');
});
