import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Cleanup } from '../support/cleanup.ts';
import { sha256File } from '../support/digest.ts';
import { eventually } from '../support/eventually.ts';
import { exchangeMoves, expectByteExact } from '../support/exchange.ts';
import { expectTold, LINK_LINES } from '../support/link-lines.ts';
import { SessionField } from '../support/session-field.ts';

const MEBIBYTE = 1024 * 1024;
const GIBIBYTE = 1024 * MEBIBYTE;

const cleanup = new Cleanup();
let field: SessionField;

beforeEach(async () => {
  field = await SessionField.start(cleanup);
});
afterEach(() => cleanup.run());

async function writeRandomFile(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (let written = 0; written < bytes; written += MEBIBYTE) await file.write(randomBytes(MEBIBYTE));
  } finally {
    await file.close();
  }
}

test('scp of 1 GB and an ssh session go on when the device gets another address, twice', async () => {
  const { ssh, shell } = field.shell();
  const before = await shell.identity();
  const [original, uploaded] = ['original', 'uploaded'].map((name) => join(field.home, name)) as [string, string];
  await writeRandomFile(original, GIBIBYTE);
  const scp = field.scp(original, uploaded, 64 * MEBIBYTE);
  for (const reached of [128 * MEBIBYTE, 512 * MEBIBYTE]) {
    await eventually(`${reached} bytes of the file`, () => statSync(uploaded).size >= reached);
    await field.device.changeAddress();
    expect(statSync(uploaded).size).toBeLessThan(GIBIBYTE);
    expect(await shell.identity()).toBe(before);
  }
  expect(await scp.end(), scp.stderr).toMatchObject({ code: 0 });
  expect(await sha256File(uploaded)).toBe(await sha256File(original));
  expectTold(field.connect, LINK_LINES.connect, 2);
  expectTold(ssh, LINK_LINES.connect, 2);
  expectTold(field.agent, LINK_LINES.agent, 4);
  expect(await shell.exit(7)).toBe(7);
});

test.each([
  { side: 'device', manner: 'interface down', forMs: 40_000 },
  { side: 'device', manner: 'packets dropped on the way', forMs: 40_000 },
  { side: 'service', manner: 'interface down', forMs: 25_000 },
  { side: 'service', manner: 'packets dropped on the way', forMs: 25_000 },
] as const)('the $side has no link for $forMs ms ($manner): ssh goes on, and every byte arrives', async (outage) => {
  const { ssh, shell } = field.shell();
  const before = await shell.identity();
  const exchange = field.exchange();
  await exchangeMoves(exchange, field.exchangeServer, MEBIBYTE);
  const place = field[outage.side];
  const isDown = outage.manner === 'interface down';
  await (isDown ? place.linkDown() : place.cut());
  await sleep(outage.forMs);
  await (isDown ? place.linkUp() : place.restore());
  await exchangeMoves(exchange, field.exchangeServer, MEBIBYTE);
  expect(await shell.identity()).toBe(before);
  await expectByteExact(exchange, field.exchangeServer);
  // Two unanswered pings make a lost link; a shorter outage may pass unnoticed, because TCP sends again what was lost.
  if (outage.forMs >= 40_000) {
    expectTold(field.connect, LINK_LINES.connect);
    expectTold(ssh, LINK_LINES.connect);
    expectTold(field.agent, LINK_LINES.agent, 2);
  }
  for (const { stderr } of [field.connect, ssh, field.agent]) expect(stderr).not.toMatch(/failed|is over/);
  expect(await shell.exit(7)).toBe(7);
});
