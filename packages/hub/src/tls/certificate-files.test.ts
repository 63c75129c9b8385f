import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CertificateFiles } from './certificate-files.ts';
import { type Issued, issueAuthority, issueServerCertificate } from './certificate-issuer.ts';
import { withLocalNames } from './host-name.ts';
import type { KeyPair } from './key-pair.ts';

let directory: string;
let clock: FakeClock;
let authority: Issued;
const open: CertificateFiles[] = [];
/** The values that the listener was called with; `told()` waits for the next one. */
let news: (KeyPair | string)[];
let wake: () => void;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-files-'));
  clock = new FakeClock(Date.now());
  authority = await issueAuthority(withLocalNames([]), clock.now());
  news = [];
});

afterEach(async () => {
  for (const files of open.splice(0)) files.close();
  expect(clock.timers).toBe(0);
  await rm(directory, { recursive: true });
});

const fresh = () => issueServerCertificate(authority, withLocalNames([]), clock.now());
const path = (name: string) => join(directory, name);

async function put(folder: string, pair: Issued): Promise<void> {
  await mkdir(path(folder));
  await writeFile(path(`${folder}/tls.crt`), pair.cert);
  await writeFile(path(`${folder}/tls.key`), pair.key);
}

async function opened(folder: string): Promise<CertificateFiles> {
  const tell = (item: KeyPair | string) => {
    news.push(item);
    wake();
  };
  const files = await CertificateFiles.open({
    certFile: path(`${folder}/tls.crt`),
    keyFile: path(`${folder}/tls.key`),
    clock,
    listener: { loaded: tell, kept: tell },
  });
  open.push(files);
  return files;
}

/** The value that the listener is called with after ten seconds. */
async function told(): Promise<KeyPair | string | undefined> {
  const next = new Promise<void>((resolve) => {
    wake = resolve;
  });
  await clock.advance(10_000);
  await next;
  return news.at(-1);
}

describe("an operator's certificate files", () => {
  it('are loaded again when the link above them is swapped, as certbot and Kubernetes do', async () => {
    const [first, second] = [await fresh(), await fresh()];
    await put('v1', first);
    await put('v2', second);
    await symlink('v1', path('live'));
    const files = await opened('live');
    expect(files.current).toMatchObject({ cert: first.cert, key: first.key, from: path('live/tls.crt') });
    await symlink('v2', path('next'));
    await rename(path('next'), path('live'));
    expect(await told()).toMatchObject({ cert: second.cert, key: second.key });
    expect(files.current.cert).toBe(second.cert);
  });

  it('are kept when the new pair does not match, until it does', async () => {
    const [first, second] = [await fresh(), await fresh()];
    await put('live', first);
    const files = await opened('live');
    await writeFile(path('live/tls.crt'), second.cert);
    expect(await told()).toBe(
      `The key in ${path('live/tls.key')} is not that of the certificate in ${path('live/tls.crt')}.`,
    );
    expect(files.current.cert).toBe(first.cert);
    // The check schedules the next one only after it has called the listener.
    await waitForTimer();
    await writeFile(path('live/tls.key'), second.key);
    expect(await told()).toMatchObject({ cert: second.cert });
    expect(files.current.key).toBe(second.key);
  });

  it('are loaded at once on reload, which also tells that they are missing', async () => {
    const [first, second] = [await fresh(), await fresh()];
    await put('live', first);
    const files = await opened('live');
    wake = () => {};
    await writeFile(path('live/tls.crt'), second.cert);
    await writeFile(path('live/tls.key'), second.key);
    await files.reload();
    expect(files.current.cert).toBe(second.cert);
    await rm(path('live'), { recursive: true });
    await files.reload();
    expect(news.at(-1)).toBe(`${path('live/tls.crt')} cannot be read: there is no such file.`);
    expect(files.current.cert).toBe(second.cert);
  });

  it('stop the start when they cannot be used, with the reason', async () => {
    const [first, second] = [await fresh(), await fresh()];
    const refused = async (folder: string, pair: Issued, reason: RegExp) => {
      await put(folder, pair);
      await expect(opened(folder)).rejects.toMatchObject({
        code: 'config_invalid',
        message: expect.stringMatching(reason),
      });
    };
    await refused('mixed', { cert: first.cert, key: second.key }, /is not that of the certificate/);
    await refused('swapped', { cert: first.key, key: first.cert }, /tls\.crt is not a certificate in PEM/);
    await refused(
      'keyless',
      { cert: first.cert, key: 'x' },
      /tls\.key is not a private key in PEM without a passphrase/,
    );
    const old = await issueServerCertificate(authority, withLocalNames([]), clock.now() - 400 * 86_400_000);
    await refused('old', old, /expired on/);
    await expect(opened('missing')).rejects.toMatchObject({
      message: expect.stringMatching(/cannot be read: there is no such file/),
    });
  });
});

async function waitForTimer(): Promise<void> {
  while (clock.timers === 0) await new Promise((resolve) => setImmediate(resolve));
}
