import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvert } from './support/culvert.ts';
import { freePort } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { Sshd } from './support/openssh.ts';
import { cleanEnvironment, run } from './support/program.ts';
import { startAgent } from './support/proxies.ts';

const MEBIBYTE = 1024 * 1024;

const cleanup = new Cleanup();
let hub: HubProcess;
let sshd: Sshd;
let gatewayPort: number;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  gatewayPort = await freePort();
  const config = { gatewayThreads: 2, gatewayListen: `127.0.0.1:${gatewayPort}` };
  [hub, sshd] = await Promise.all([HubProcess.start(cleanup, { config }), Sshd.start(cleanup)]);
  env = cleanEnvironment(hub.serviceEnv());
  const args = ['--ssh-host-key', sshd.hostKeyFile('host')];
  await startAgent(cleanup, hub, 'pi', [`ssh=127.0.0.1:${sshd.port}`], { args });
});
afterAll(() => cleanup.run());

test('the endpoint information tells where streams go', async () => {
  const shown = await culvert(['devicestream', 'show', '--output', 'json'], { env });
  expect(JSON.parse(shown.stdout)).toMatchObject({ streamingEndpoints: [`https://127.0.0.1:${gatewayPort}`] });
});

test('files go up and down by scp, over as many streams as make both ways of landing all but certain', async () => {
  const printed = await culvert(['ssh-config', '--host-keys=hub', '--data-dir', hub.dataDir], { env });
  const config = join(hub.home, 'ssh_config');
  writeFileSync(config, printed.stdout);
  const sent = randomBytes(8 * MEBIBYTE);
  const file = join(hub.home, 'sent');
  writeFileSync(file, sent);
  await Promise.all(
    Array.from({ length: 6 }, async (_, i) => {
      const [there, back] = [join(hub.home, `there-${i}`), join(hub.home, `back-${i}`)];
      for (const [from, to] of [
        [file, `root@pi.culvert:${there}`],
        [`root@pi.culvert:${there}`, back],
      ] as const) {
        const copied = await run('scp', ['-F', config, ...sshd.clientArguments, from, to], { env });
        expect(copied, copied.stderr).toMatchObject({ code: 0 });
      }
      expect(readFileSync(back).equals(sent)).toBe(true);
    }),
  );
});

test('it stops when it is told', async () => {
  expect(await hub.stop()).toBe(0);
});
