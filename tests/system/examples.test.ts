import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { ROOT } from './support/culvert.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, Program, run } from './support/program.ts';

const cleanup = new Cleanup();
let hub: HubProcess;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup);
});
afterAll(() => cleanup.run());

test('examples/echo as its README starts it', async () => {
  const example = (name: string) => join(ROOT, 'examples/echo', name);
  const device = cleanup.defer(
    new Program(process.execPath, [example('device.ts')], {
      env: cleanEnvironment({
        HOME: hub.home,
        CULVERT_CA_FILE: hub.caFile,
        CULVERT_DEVICE_CONNECTION_STRING: await hub.createDevice('demo'),
      }),
    }),
    (program) => program.stop(),
  );
  await device.waitFor(/attached/);
  const env = cleanEnvironment(hub.serviceEnv());
  const service = await run(process.execPath, [example('service.ts'), 'demo', 'hello, device'], { env });
  expect(service, service.stderr).toMatchObject({ code: 0, stdout: 'hello, device\n' });
  device.signal('SIGTERM');
  expect((await device.end()).code).toBe(0);
});
