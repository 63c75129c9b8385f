import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';
import { afterAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { listenLocally } from './support/free-port.ts';
import { cleanEnvironment } from './support/program.ts';
import { scratch } from './support/scratch.ts';

const root = resolve(import.meta.dirname, '../..');
const cleanup = new Cleanup();
afterAll(() => cleanup.run());

const PAGE = `<!doctype html><title>session</title>
<script type="importmap">{"imports":{"@culvert/session/core":"/core/index.js"}}</script>
<script type="module">import { runSession } from '/page.js'; window.runSession = runSession;</script>`;

/** The compiled core, as packages get it, and the page. */
function contentOf(url: string): { type: string; body: string } | undefined {
  if (url === '/') return { type: 'text/html', body: PAGE };
  const module = /^\/core\/([a-z-]+\.js)$/.exec(url)?.[1];
  const path = module === undefined ? 'tests/system/programs/session-page.mjs' : `packages/session/dist/core/${module}`;
  if ((module === undefined && url !== '/page.js') || !existsSync(join(root, path))) return undefined;
  return { type: 'text/javascript', body: readFileSync(join(root, path), 'utf8') };
}

interface Seen {
  readonly received: number;
  readonly unansweredAtCut: number;
  readonly hmacs: number;
}

test('both ends of a session run in Chromium, with WebCrypto, through a cut', async () => {
  const server = createServer(({ url = '' }, response) => {
    const content = contentOf(url);
    if (content === undefined) response.writeHead(404).end();
    else response.setHeader('content-type', content.type).end(content.body);
  });
  const port = await listenLocally(cleanup, server);
  const executablePath = '/usr/bin/chromium';
  expect(existsSync(executablePath), 'Chromium is installed').toBe(true);
  const browser = await chromium.launch({
    executablePath,
    chromiumSandbox: false,
    env: cleanEnvironment({ HOME: scratch(cleanup) }) as Record<string, string>,
    args: [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  });
  cleanup.defer(browser, () => browser.close());
  const tab = await browser.newPage();
  const failures: string[] = [];
  tab.on('pageerror', (error) => failures.push(String(error)));
  tab.on('requestfailed', (request) => failures.push(request.url()));
  await tab.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'load', timeout: 90_000 });
  expect(failures).toEqual([]);
  const seen = await tab.evaluate<Seen>('window.runSession()');
  expect(failures).toEqual([]);
  expect(seen).toMatchObject({
    finished: true,
    received: 1_048_576,
    wrongAt: -1,
    links: 2,
    lost: 1,
    refusedLinks: [],
    hmacsAtOnce: 0,
    nodeGlobals: ['undefined', 'undefined', 'undefined'],
  });
  expect(seen.unansweredAtCut, 'bytes under way at the cut').toBeGreaterThan(0);
  // Two proofs and their verifications on the second link, one on the first.
  expect(seen.hmacs).toBe(6);
});
