import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** The only file that may destroy a connection that can be the transport of a TLS connection. Other files call its functions. */
const PLACE = 'packages/stream/src/destroy-connection.ts';

/** Code in which a socket that the program holds becomes the transport of a TLS connection, or in which the program gets such a socket. */
const LAYERS: readonly RegExp[] = [
  /\bnew TLSSocket\(/,
  // The option `socket` of TLS: tls.connect({ socket, … }).
  /\b(?:connect|connectTls|tlsConnect|request)\(\{[^}]*\bsocket\b[^}]*\}/,
  /\{ ?socket, host[^}]*servername/,
  /\.emit\('connection', /,
  /\b(?:destroyConnection|resetConnection)\b/,
];

/** With this event, a TLS server emits the TCP sockets below its TLS connections. The sockets of a TCP server have no TLS above. */
const ACCEPTED = /\.on(?:ce)?\('connection'/;
const TLS_SERVER = /from 'node:(?:https|tls)'/;

/** Files that reset connections that are not the transport of a TLS connection in their process, each with the reason. */
const PLAIN: Readonly<Record<string, string>> = {
  'bench/tcp-conformance/cases/reset.ts': 'a TCP client of a tunnel',
  'bench/tcp-conformance/endpoint.ts': 'a TCP client of a tunnel, and a TCP server',
  'bench/tcp-conformance/relays/relays.ts': 'TCP on both sides',
  'bench/traffic/connection.test.ts': 'a TCP client of a TCP server',
  'packages/proxy/src/local-relay.test.ts': 'a local program’s TCP connection',
  'packages/proxy/src/connect/connect.test.ts': 'a local program’s TCP connection',
  'packages/proxy/src/connect/connect.ts': 'local programs’ TCP connections',
  'packages/proxy/src/connect/early-data.test.ts': 'a local program’s TCP connection',
  'packages/proxy/src/local-end.ts': 'a local program’s or server’s TCP connection',
  'packages/session/src/socket-relay.test.ts': 'a local program’s TCP connection',
  'packages/session/src/socket-relay.ts': 'a local program’s or server’s TCP connection',
  'packages/session/test/over-sockets.test.ts': 'TCP on both sides',
  'packages/session/test/socket-tunnel.ts': 'links over plain TCP, and local TCP connections',
  'packages/stream/src/splice.test.ts': 'TCP on both sides',
  'packages/testkit/src/fault-proxy.ts': 'passes the bytes of TLS on, speaks none',
};

/** The file that reproduces the crash. */
const FIXTURE = 'packages/stream/src/destroy-connection.fixture.ts';

const sources = globSync(
  ['packages/*/{src,test}/**/*.ts', 'tests/**/*.ts', 'bench/**/*.ts', 'fuzz/**/*.ts', 'examples/**/*.ts'],
  {
    cwd: root,
  },
)
  .filter((path) => !path.includes('node_modules') && path !== FIXTURE)
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

const standsUnderTls = (text: string): boolean =>
  LAYERS.some((layer) => layer.test(text)) || (ACCEPTED.test(text) && TLS_SERVER.test(text));

/** Returns the lines that destroy a connection directly. The `super.destroy()` of an agent or a stream is not such a line. */
const destroying = (text: string): string[] =>
  text.split('\n').filter((line) => /(?<!\bsuper)\.(?:destroy|destroySoon|resetAndDestroy)\(/.test(line));

describe('connections that TLS may stand on', () => {
  it('are destroyed in one place', () => {
    const wrong = sources
      .filter(({ path, text }) => path !== PLACE && standsUnderTls(text))
      .flatMap(({ path, text }) => destroying(text).map((line) => `${path}: ${line.trim()}`));
    expect(wrong).toEqual([]);
  });

  it('are reset there too: who resets others is known', () => {
    const resetting = sources.filter(({ text }) => text.includes('.resetAndDestroy(')).map(({ path }) => path);
    expect(resetting.sort()).toEqual([PLACE, ...Object.keys(PLAIN)].sort());
    expect(resetting.filter((path) => path !== PLACE && TLS_SERVER.test(textOf(path)))).toEqual([]);
  });

  it('would be found', () => {
    for (const text of [
      'const tls = connect({ socket: tcp, host });',
      'const tls = new TLSSocket(tcp);',
      "import { createServer } from 'node:https';\nserver.on('connection', (socket) => keep(socket));",
      "server.emit('connection', socket);",
    ]) {
      expect(standsUnderTls(text), text).toBe(true);
    }
    expect(destroying('tcp.resetAndDestroy();\nsocket.destroySoon();\nsuper.destroy();')).toHaveLength(2);
    expect(sources.filter(({ text }) => standsUnderTls(text)).map(({ path }) => path)).toContain(
      'packages/hub/src/listeners/https-listener.ts',
    );
  });
});

function textOf(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}
