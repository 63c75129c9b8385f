import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { eventually } from './support/eventually.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, Program, run } from './support/program.ts';
import { startAgent, startConnect } from './support/proxies.ts';
import { startScreen, startXrdp, type Xrdp } from './support/xrdp.ts';

/** More colours than an empty screen (2) or a plain window shows: xrdp's login screen with its logo has some thousands. */
const MANY_COLOURS = 500;

const cleanup = new Cleanup();
let hub: HubProcess;
let xrdp: Xrdp;
let port: number;

beforeAll(async () => {
  [hub, xrdp] = await Promise.all([HubProcess.start(cleanup), startXrdp(cleanup)]);
  await startAgent(cleanup, hub, 'desktop', [`rdp=127.0.0.1:${xrdp.port}`]);
  port = (await startConnect(cleanup, hub, 'desktop', ['rdp'])).ports[0] as number;
});
afterAll(() => cleanup.run());

test('xfreerdp negotiates a session through the local proxies', async () => {
  const arguments_ = [`/v:127.0.0.1:${port}`, '/cert:ignore', '/sec:tls', '/u:guest', '/p:none', '+auth-only'];
  // With `+auth-only` the client draws nothing, but it still needs a display.
  const { display } = await startScreen(cleanup);
  const env = cleanEnvironment({ HOME: hub.home, DISPLAY: display });
  const { code, stdout, stderr } = await run('xfreerdp', arguments_, { env });
  expect(code, stdout + stderr).toBe(0);
  expect(xrdp.log()).toContain('Security protocol: configured [SSL');
});

test("xrdp's login screen is drawn on the service's side", async () => {
  const screen = await startScreen(cleanup);
  expect(await screen.colours()).toBeLessThan(10);
  const client = cleanup.defer(
    new Program('xfreerdp', [`/v:127.0.0.1:${port}`, '/cert:ignore', '/sec:tls', '/u:guest', '/size:800x600'], {
      env: cleanEnvironment({ HOME: hub.home, DISPLAY: screen.display }),
    }),
    (program) => program.stop(),
  );
  await eventually('the login screen', async () => (await screen.colours()) > MANY_COLOURS, 60_000);
  expect(client.running).toBe(true);
  expect(xrdp.log()).toContain('draw login window');
});
