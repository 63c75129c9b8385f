import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { sha256 } from './support/digest.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, run } from './support/program.ts';
import { startAgent, startConnect } from './support/proxies.ts';

/** Number of connections that a browser opens to one host with HTTP/1.1. */
const PARALLEL = 6;

const cleanup = new Cleanup();
let hub: HubProcess;
let page: Page;
let port: number;

/** A page with images and scripts. It answers them only while six are requested at the same time, each on a separate connection. */
class Page {
  readonly assets = new Map<string, Buffer>();
  readonly server = createServer((request, response) => this.#answer(request.url ?? '/', response));
  #gathered: (() => void)[] = [];
  #gate: 'gathering' | 'open' = 'gathering';

  constructor() {
    for (let index = 0; index < PARALLEL; index++) {
      this.assets.set(`/image${index}.bmp`, bitmap(256));
      this.assets.set(
        `/script${index}.js`,
        Buffer.from(`(window.ran ??= []).push(${index}); // ${randomBytes(60_000).toString('hex')}`),
      );
    }
  }

  /** Closes the gate again, for the next client. */
  gather(): void {
    this.#gate = 'gathering';
  }

  #answer(url: string, response: ServerResponse): void {
    const asset = this.assets.get(url);
    if (url === '/') {
      const tags = [...this.assets.keys()].map((name) =>
        name.endsWith('.js') ? `<script async src="${name}"></script>` : `<img src="${name}">`,
      );
      response.setHeader('content-type', 'text/html').end(`<!doctype html><title>device page</title>${tags.join('')}`);
      return;
    }
    if (asset === undefined) {
      response.writeHead(404).end();
      return;
    }
    const send = () => {
      response.setHeader('content-type', url.endsWith('.js') ? 'text/javascript' : 'image/bmp').end(asset);
    };
    if (this.#gate === 'open') {
      send();
      return;
    }
    this.#gathered.push(send);
    if (this.#gathered.length < PARALLEL) return;
    this.#gate = 'open';
    for (const waiting of this.#gathered.splice(0)) waiting();
  }
}

/** A valid BMP image of random pixels: header, then blue, green and red of each pixel. */
function bitmap(side: number): Buffer {
  const pixels = randomBytes(side * side * 3);
  const header = Buffer.alloc(54);
  header.write('BM');
  header.writeUInt32LE(header.length + pixels.length, 2);
  header.writeUInt32LE(header.length, 10);
  header.writeUInt32LE(40, 14);
  header.writeInt32LE(side, 18);
  header.writeInt32LE(side, 22);
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(24, 28);
  return Buffer.concat([header, pixels]);
}

beforeAll(async () => {
  hub = await HubProcess.start(cleanup);
  page = new Page();
  await startAgent(cleanup, hub, 'camera', [`web=127.0.0.1:${await listenLocally(cleanup, page.server)}`]);
  port = (await startConnect(cleanup, hub, 'camera', ['web'])).ports[0] as number;
});
afterAll(() => cleanup.run());

test('curl fetches a page over six parallel connections', async () => {
  page.gather();
  const targets = [...page.assets.keys()].slice(0, PARALLEL);
  const files = targets.map((name) => join(hub.home, `curl${name.slice(1)}`));
  const { code, stderr } = await run(
    'curl',
    [
      '-sS',
      '--fail',
      '--max-time',
      '60',
      '--parallel',
      '--parallel-immediate',
      '--parallel-max',
      String(PARALLEL),
    ].concat(targets.flatMap((name, index) => ['-o', files[index] as string, `http://127.0.0.1:${port}${name}`])),
    { env: cleanEnvironment() },
  );
  expect(code, stderr).toBe(0);
  for (const [index, name] of targets.entries()) {
    expect(sha256(readFileSync(files[index] as string)), name).toBe(sha256(page.assets.get(name) as Buffer));
  }
});

test('headless Chromium loads the page, its images and scripts', async () => {
  page.gather();
  const executablePath = '/usr/bin/chromium';
  expect(existsSync(executablePath), 'Chromium is installed').toBe(true);
  const browser = await chromium.launch({
    executablePath,
    chromiumSandbox: false,
    env: cleanEnvironment({ HOME: hub.home }) as Record<string, string>,
    args: [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  });
  cleanup.defer(browser, () => browser.close());
  const tab = await browser.newPage();
  const bodies = new Map<string, Promise<Buffer>>();
  tab.on('response', (response) => bodies.set(new URL(response.url()).pathname, response.body()));
  await tab.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'load', timeout: 90_000 });
  expect(await tab.title()).toBe('device page');
  for (const [name, content] of page.assets)
    expect(sha256((await bodies.get(name)) as Buffer), name).toBe(sha256(content));
  const seen = await tab.evaluate<{ ran: number[]; widths: number[] }>(
    '({ ran: window.ran.sort(), widths: [...document.images].map((image) => image.naturalWidth) })',
  );
  expect(seen).toEqual({ ran: [0, 1, 2, 3, 4, 5], widths: Array(PARALLEL).fill(256) });
});
