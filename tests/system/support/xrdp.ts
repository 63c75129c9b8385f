import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';
import { freePort, listening } from './free-port.ts';
import { must, Program } from './program.ts';
import { scratch } from './scratch.ts';

/** A real remote desktop server on a loopback port that shows its login screen to each client. */
export interface Xrdp {
  readonly port: number;
  log(): string;
}

/** Starts xrdp with its own certificate, settings and log. */
export async function startXrdp(cleanup: Cleanup): Promise<Xrdp> {
  const directory = scratch(cleanup);
  const port = await freePort();
  const path = (name: string) => join(directory, name);
  const subject = ['-subj', '/CN=xrdp', '-days', '2'];
  const files = ['-keyout', path('key.pem'), '-out', path('cert.pem')];
  await must('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...files, ...subject]);
  // The package's own settings, so that the login screen is the real one, with the changes that the test needs.
  const packaged = readFileSync('/etc/xrdp/xrdp.ini', 'utf8');
  const changes: Record<string, string> = {
    port: `tcp://127.0.0.1:${port}`,
    security_layer: 'tls',
    certificate: path('cert.pem'),
    key_file: path('key.pem'),
    LogFile: path('xrdp.log'),
    LogLevel: 'DEBUG',
    EnableSyslog: 'false',
  };
  const changed = new Set<string>();
  const settings = packaged.replace(/^(\w+)=.*$/gm, (line, key: string) => {
    const value = changes[key];
    // Each key is changed only at its first occurrence: the later sections have ports of their own.
    if (value === undefined || changed.has(key)) return line;
    changed.add(key);
    return `${key}=${value}`;
  });
  writeFileSync(path('xrdp.ini'), settings);
  mkdirSync('/run/xrdp/sockdir', { recursive: true });
  const program = new Program('/usr/sbin/xrdp', ['--nodaemon', '--config', path('xrdp.ini')]);
  cleanup.defer(program, () => program.stop());
  await listening(port);
  return { port, log: () => readFileSync(path('xrdp.log'), 'utf8') };
}

/** A virtual screen that is not displayed anywhere. */
export interface Screen {
  readonly display: string;
  /** Takes a screenshot and counts its colours. */
  colours(): Promise<number>;
}

/** Starts an X server of 1024 × 768 on a free display. */
export async function startScreen(cleanup: Cleanup): Promise<Screen> {
  const directory = scratch(cleanup);
  // With -displayfd the server chooses a free display and writes its number to the given descriptor, here standard output.
  const program = new Program('Xvfb', ['-displayfd', '1', '-screen', '0', '1024x768x24', '-nolisten', 'tcp']);
  cleanup.defer(program, () => program.stop());
  const display = `:${(await program.waitFor(/^(\d+)$/m))[1]}`;
  const picture = join(directory, 'screen.png');
  return {
    display,
    async colours() {
      await must('import', ['-display', display, '-window', 'root', picture]);
      return Number(await must('identify', ['-format', '%k', picture]));
    },
  };
}
