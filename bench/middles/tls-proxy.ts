import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { freePort } from '../peers/free-port.ts';
import type { Peer, RunningPeer } from '../peers/peer.ts';
import { Child, run } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';
import { certificateFiles } from './certificate-files.ts';
import type { CertificateFiles } from './middle.ts';

/** The differences between programs that terminate TLS and connect with TLS again. */
interface TlsProxy {
  readonly name: string;
  readonly title: string;
  readonly program: string;
  readonly package: string;
  readonly versionArgument: string;
  configuration(certificate: CertificateFiles, listen: number, backend: number): string;
  args(configurationFile: string): string[];
}

/** HAProxy in TCP mode, one thread, with its default splicing and buffers. */
export const haproxy = tlsProxy({
  name: 'haproxy',
  title: 'HAProxy in TCP mode, TLS on both sides, one thread',
  program: 'haproxy',
  package: 'haproxy',
  versionArgument: '-v',
  configuration: ({ bothFile }, listen, backend) =>
    [
      'global',
      '  nbthread 1',
      '  maxconn 1000',
      'defaults',
      '  mode tcp',
      '  timeout connect 10s',
      '  timeout client 300s',
      '  timeout server 300s',
      'frontend front',
      `  bind 127.0.0.1:${listen} ssl crt ${bothFile}`,
      '  default_backend back',
      'backend back',
      `  server one 127.0.0.1:${backend} ssl verify none`,
      '',
    ].join('\n'),
  args: (file) => ['-db', '-f', file],
});

/** nginx's stream module, one worker. */
export const nginx = tlsProxy({
  name: 'nginx',
  title: 'nginx stream, TLS on both sides, one worker',
  program: 'nginx',
  package: 'nginx-light and libnginx-mod-stream',
  versionArgument: '-v',
  configuration: ({ certFile, keyFile }, listen, backend) =>
    [
      'load_module /usr/lib/nginx/modules/ngx_stream_module.so;',
      'daemon off;',
      'worker_processes 1;',
      // The pid file is in the workspace: nginx deletes its pid file when it ends, so with a device path, as root, it would delete the device.
      `pid ${certFile}.nginx-pid;`,
      'error_log stderr error;',
      'events { worker_connections 1000; }',
      'stream {',
      '  server {',
      `    listen 127.0.0.1:${listen} ssl;`,
      `    ssl_certificate ${certFile};`,
      `    ssl_certificate_key ${keyFile};`,
      '    ssl_protocols TLSv1.3;',
      `    proxy_pass 127.0.0.1:${backend};`,
      '    proxy_ssl on;',
      '    proxy_ssl_protocols TLSv1.3;',
      '  }',
      '}',
      '',
    ].join('\n'),
  args: (file) => ['-c', file],
});

function tlsProxy(proxy: TlsProxy): Peer {
  const { name, title, program } = proxy;
  return {
    name,
    title,
    family: 'middle',
    missing: () =>
      findProgram(program) === undefined ? `${program} not found: install Debian's ${proxy.package}` : undefined,
    start: (_target, workspace) => startTlsProxy(proxy, workspace),
  };
}

async function startTlsProxy(proxy: TlsProxy, workspace: string): Promise<RunningPeer> {
  const program = findProgram(proxy.program) ?? proxy.program;
  const certificate = await certificateFiles(workspace);
  const backend = createServer({ cert: certificate.cert, key: certificate.key, noDelay: true });
  backend.listen(0, '127.0.0.1');
  await once(backend, 'listening');
  const listen = await freePort();
  const file = join(workspace, `${proxy.name}.conf`);
  writeFileSync(file, proxy.configuration(certificate, listen, (backend.address() as AddressInfo).port));
  const child = new Child({ command: program, args: proxy.args(file) }).readOutput();
  const sockets: TLSSocket[] = [];
  const keep = (socket: TLSSocket): TLSSocket => {
    socket.on('error', () => undefined);
    sockets.push(socket);
    return socket;
  };
  const joinEnds = async () => {
    const arrived = once(backend, 'secureConnection') as Promise<[TLSSocket]>;
    const from = keep(connect({ host: '127.0.0.1', port: listen, ca: certificate.ca, servername: 'localhost' }));
    from.setNoDelay(true);
    await once(from, 'secureConnect');
    return { from, to: keep((await arrived)[0]) };
  };
  const stop = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    backend.close();
    await child.stop();
  };
  try {
    await child.listening(listen);
    return {
      version: (await run({ command: program, args: [proxy.versionArgument] })).trim().split('\n')[0] ?? '',
      entry: { host: '127.0.0.1', port: listen },
      processes: [{ role: proxy.name, pid: child.pid }],
      middle: { unmasks: false, join: joinEnds },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
