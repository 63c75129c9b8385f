import { randomBytes } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { sha256File } from './support/digest.ts';
import { eventually } from './support/eventually.ts';
import { exchangeMoves, expectByteExact } from './support/exchange.ts';
import { expectTold, LINK_LINES } from './support/link-lines.ts';
import { SessionField } from './support/session-field.ts';

const MEBIBYTE = 1024 * 1024;

const cleanup = new Cleanup();
let field: SessionField;

beforeAll(async () => {
  field = await SessionField.start(cleanup);
});
afterAll(() => cleanup.run());

test('an ssh session, a running scp and an exchange both ways go on when the device gets another address', async () => {
  const { ssh, shell } = field.shell();
  const before = await shell.identity();
  const [original, uploaded] = ['original', 'uploaded'].map((name) => join(field.home, name)) as [string, string];
  writeFileSync(original, randomBytes(64 * MEBIBYTE));
  const scp = field.scp(original, uploaded, 8 * MEBIBYTE);
  const exchange = field.exchange();
  await exchangeMoves(exchange, field.exchangeServer, MEBIBYTE);
  await eventually('a part of the file', () => statSync(uploaded).size >= 4 * MEBIBYTE);

  await field.device.changeAddress();
  expect(statSync(uploaded).size).toBeLessThan(64 * MEBIBYTE);

  expect(await shell.identity()).toBe(before);
  await exchangeMoves(exchange, field.exchangeServer, 2 * MEBIBYTE);
  await expectByteExact(exchange, field.exchangeServer);
  expect(await scp.end(), scp.stderr).toMatchObject({ code: 0 });
  expect(await sha256File(uploaded)).toBe(await sha256File(original));

  expectTold(field.connect, LINK_LINES.connect);
  expectTold(ssh, LINK_LINES.connect);
  // The agent serves two sessions, that of connect and that of ssh.
  expectTold(field.agent, LINK_LINES.agent, 2);
  expect(await shell.ask('echo still $((6 * 7))')).toBe('still 42');
  expect(await shell.exit(7)).toBe(7);
});
