import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect as dial } from 'node:net';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { eventually } from './eventually.ts';
import { freePort, listening } from './free-port.ts';
import { cleanEnvironment, must, Program } from './program.ts';
import { scratch } from './scratch.ts';

/** A network in which only an HTTP proxy is reachable. The proxy allows CONNECT to one port and nothing else. */
export interface CorporateNetwork {
  /** Command prefix that runs a command inside the network. */
  readonly prefix: readonly string[];
  /** The proxy's URL from inside the network. */
  readonly proxyUrl: string;
  /** Returns the proxy's log, which has an entry for each request. */
  proxyLog(): string;
}

const INSIDE_PORT = 3128;

/** Accepts connections on the network's own loopback and forwards them to a Unix socket, which network namespaces do not separate. */
const DOORMAN = `
  const net = require('node:net');
  net.createServer((inside) => {
    const outside = net.connect(process.argv[1]);
    inside.pipe(outside).pipe(inside);
    inside.on('error', () => outside.destroy());
    outside.on('error', () => inside.destroy());
  }).listen(${INSIDE_PORT}, '127.0.0.1', () => console.log('open'));`;

/** Creates the network: a namespace with only its own loopback, and tinyproxy behind a Unix socket as its only exit. */
export async function corporateNetwork(cleanup: Cleanup, allowedPort: number): Promise<CorporateNetwork> {
  const directory = scratch(cleanup);
  const path = (name: string) => join(directory, name);
  const proxyPort = await startProxy(cleanup, path, allowedPort);

  const bridge = createServer((inside) => {
    const outside = dial(proxyPort, '127.0.0.1');
    inside.pipe(outside).pipe(inside);
    inside.on('error', () => outside.destroy());
    outside.on('error', () => inside.destroy());
  }).listen(path('out.sock'));
  cleanup.defer(bridge, () => bridge.close());

  const name = `culvert-${process.pid}`;
  await must('ip', ['netns', 'add', name]);
  cleanup.defer(name, () => must('ip', ['netns', 'del', name]));
  const prefix = ['ip', 'netns', 'exec', name];
  await must('ip', ['netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up']);
  const doorman = new Program('ip', ['netns', 'exec', name, process.execPath, '-e', DOORMAN, path('out.sock')]);
  cleanup.defer(doorman, () => doorman.stop());
  await doorman.waitFor(/open/);
  return {
    prefix,
    proxyUrl: `http://127.0.0.1:${INSIDE_PORT}`,
    proxyLog: () => readFileSync(path('log'), 'utf8'),
  };
}

async function startProxy(cleanup: Cleanup, path: (name: string) => string, allowedPort: number): Promise<number> {
  const port = await freePort();
  // The filter matches the requested target: `host:port` for a CONNECT, so no URL of a plain request can match.
  writeFileSync(path('filter'), `^127\\.0\\.0\\.1:${allowedPort}$\n`);
  const settings = [
    `Port ${port}`,
    'Listen 127.0.0.1',
    'Timeout 600',
    'MaxClients 100',
    'LogLevel Info',
    `LogFile "${path('log')}"`,
    `PidFile "${path('pid')}"`,
    `ConnectPort ${allowedPort}`,
    `Filter "${path('filter')}"`,
    'FilterURLs On',
    'FilterExtended On',
    'FilterDefaultDeny Yes',
  ];
  writeFileSync(path('tinyproxy.conf'), `${settings.join('\n')}\n`);
  const program = new Program('tinyproxy', ['-d', '-c', path('tinyproxy.conf')], { env: cleanEnvironment() });
  cleanup.defer(program, () => program.stop());
  await listening(port);
  await eventually('the proxy to log', () => readFileSync(path('log'), 'utf8').length > 0);
  return port;
}
