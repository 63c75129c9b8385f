import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { testCertificate } from '@culvert/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';

const FIXTURE = fileURLToPath(new URL('./destroy-connection.fixture.ts', import.meta.url));

let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-destroy-'));
  const { cert, key } = await testCertificate();
  writeFileSync(join(directory, 'cert.pem'), cert);
  writeFileSync(join(directory, 'key.pem'), key);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function end(way: 'safe' | 'unsafe', moment: string) {
  const files = ['cert.pem', 'key.pem'].map((name) => join(directory, name));
  const { status, signal, stdout } = spawnSync(process.execPath, [FIXTURE, way, moment, ...files], {
    encoding: 'utf8',
  });
  return { status, signal, stdout: stdout.trim() };
}

// tests/system/native-crash.test.ts also runs this with other versions of Node, and shows that the unsafe order crashes.
test.each(['event', 'tick', 'promise'])(
  'a connection below TLS is destroyed safely right after the handshake: %s',
  (moment) => {
    expect(end('safe', moment)).toEqual({ status: 0, signal: null, stdout: 'survived' });
  },
);
