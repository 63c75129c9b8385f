import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { issueAuthority, issueServerCertificate } from './certificate-issuer.ts';
import { withLocalNames } from './host-name.ts';
import type { KeyPair } from './key-pair.ts';
import { OwnCertificate } from './self-issued-certificate.ts';

const DAY_MS = 86_400_000;
const NAMES = ['Hub.Example', '192.0.2.7', '2001:db8:0:0::7', 'bücher.example'];
let directory: string;
let clock: FakeClock;
let loaded: KeyPair[];
let kept: string[];
const open: OwnCertificate[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-own-'));
  // TLS clients use the machine's clock, so the fake clock starts at the machine's time.
  clock = new FakeClock(Date.now());
  [loaded, kept] = [[], []];
});

afterEach(async () => {
  for (const own of open.splice(0)) own.close();
  expect(clock.timers).toBe(0);
  await rm(directory, { recursive: true });
});

async function opened(names: readonly string[] = NAMES): Promise<OwnCertificate> {
  const listener = {
    loaded: (pair: KeyPair) => void loaded.push(pair),
    kept: (problem: string) => void kept.push(problem),
  };
  const own = await OwnCertificate.open({ directory, names, clock, listener });
  open.push(own);
  return own;
}

/** The result of a handshake between a Node TLS client that trusts `ca` and a server with this pair at `name`: `ok` or the error. */
async function shake(pair: { cert: string; key: string }, ca: string, name: string): Promise<string> {
  const server = createServer({ cert: pair.cert, key: pair.key }, (socket) => socket.end());
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // An IP address is not allowed as a server name; Node then compares the certificate with the option `host`.
  const socket = connect({ port, ca, host: name, servername: /^[\d.]+$|:/.test(name) ? '' : name, lookup: toLoopback });
  try {
    await once(socket, 'secureConnect');
    return 'ok';
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'UNSPECIFIED' ? message : String(code);
  } finally {
    socket.destroy();
    server.close();
  }
}

type Found = (error: null, addresses: { address: string; family: number }[]) => void;
function toLoopback(_name: string, _options: object, found: Found): void {
  found(null, [{ address: '127.0.0.1', family: 4 }]);
}

describe('the self-issued certificate', () => {
  it('is taken by TLS clients that trust ca.pem, for every name it was made for', async () => {
    const own = await opened();
    const ca = await readFile(own.caFile, 'utf8');
    expect(own.ca).toBe(ca);
    for (const name of ['hub.example', 'xn--bcher-kva.example', 'localhost', '127.0.0.1']) {
      expect([name, await shake(own.current, ca, name)]).toEqual([name, 'ok']);
    }
    const certificate = new X509Certificate(own.current.cert);
    for (const address of ['192.0.2.7', '2001:db8::7', '127.0.0.1', '::1']) {
      expect(certificate.checkIP(address), address).toBeDefined();
    }
    expect(await shake(own.current, ca, 'other.example')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    expect((certificate.validToDate.getTime() - clock.now()) / DAY_MS).toBeLessThanOrEqual(397);
    // For a board whose clock is at the epoch: OpenSSL checks the start of validity of both certificates.
    expect([certificate.validFromDate, new X509Certificate(ca).validFromDate]).toEqual([new Date(0), new Date(0)]);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
  });

  it("is by an authority that cannot speak for other names, even with its key in a thief's hands", async () => {
    const own = await opened();
    const folder = join(directory, 'authority');
    const authority = {
      cert: await readFile(join(folder, '1.pem'), 'utf8'),
      key: await readFile(join(folder, '1.key'), 'utf8'),
    };
    const stolen = (names: readonly string[]) => issueServerCertificate(authority, withLocalNames(names), clock.now());
    expect(await shake(await stolen(['hub.example']), own.ca, 'hub.example')).toBe('ok');
    for (const name of ['bank.example', 'example', 'nothub.example']) {
      expect([name, await shake(await stolen([name]), own.ca, name)]).toEqual([name, 'permitted subtree violation']);
    }
    for (const address of ['192.0.2.8', '10.0.0.1', '2001:db8::8']) {
      expect([address, await shake(await stolen([address]), own.ca, 'localhost')]).toEqual([
        address,
        'permitted subtree violation',
      ]);
    }
  });

  it('and its keys are for their owner alone', async () => {
    await opened();
    const modes: Record<string, string> = {};
    for (const file of (await readdir(directory, { recursive: true })).toSorted()) {
      modes[file] = ((await stat(join(directory, file))).mode & 0o777).toString(8);
    }
    expect(modes).toEqual({
      authority: '700',
      'authority/1.key': '600',
      'authority/1.pem': '600',
      'ca.pem': '644',
      'server.key': '600',
      'server.pem': '600',
    });
  });

  it('stays the same across restarts and is replaced with 30 days left, the authority with 400', async () => {
    const first = await opened();
    const { ca } = first;
    const { cert } = first.current;
    const again = await opened();
    expect(again.current.cert).toBe(cert);
    again.close();
    await clock.advance(366 * DAY_MS);
    await first.renewIfNeeded();
    expect(loaded).toEqual([]);
    await clock.advance(2 * DAY_MS);
    await first.renewIfNeeded();
    expect(first.current.cert).not.toBe(cert);
    expect(loaded.at(-1)).toEqual(first.current);
    expect([first.ca, first.notice, kept]).toEqual([ca, undefined, []]);
  });

  it('of an earlier version, with an authority that began with it, begins in 1970 from its next renewal on', async () => {
    const names = withLocalNames(NAMES);
    const begin = new Date(Math.floor(clock.now() / 1000) * 1000 - 3_600_000);
    const old = await issueAuthority(names, clock.now(), begin);
    await mkdir(join(directory, 'authority'));
    await writeFile(join(directory, 'authority', '1.pem'), old.cert);
    await writeFile(join(directory, 'authority', '1.key'), old.key);
    const own = await opened();
    const [authority, before] = [new X509Certificate(own.ca), new X509Certificate(old.cert)];
    expect([before.validFromDate, authority.validFromDate]).toEqual([begin, new Date(0)]);
    expect(new X509Certificate(own.current.cert).validFromDate).toEqual(new Date(0));
    const same = ({ subject, validTo, publicKey }: X509Certificate) => [
      subject,
      validTo,
      publicKey.export({ type: 'spki', format: 'pem' }),
    ];
    expect(same(authority)).toEqual(same(before));
    // Clients that have the old file do not need the new one, so there is no notice.
    expect([await shake(own.current, old.cert, 'localhost'), await shake(own.current, own.ca, 'localhost')]).toEqual([
      'ok',
      'ok',
    ]);
    expect(own.notice).toBeUndefined();
    const foreign = await issueServerCertificate(
      { cert: own.ca, key: old.key },
      withLocalNames(['bank.example']),
      clock.now(),
    );
    expect(await shake(foreign, own.ca, 'bank.example')).toBe('permitted subtree violation');
  });

  it('gets a further authority when a name is added, and clients of the old one are thought of', async () => {
    const before = await opened(['hub.example']);
    expect(before.notice).toBeUndefined();
    const after = await opened(['hub.example', 'new.example']);
    expect(after.notice).toMatch(/^The certificate authority did not cover all advertised names .*ca\.pem\.$/);
    expect(after.ca.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(after.ca).toContain(before.ca);
    expect(await shake(after.current, after.ca, 'new.example')).toBe('ok');
    expect(await shake(before.current, after.ca, 'hub.example')).toBe('ok');
    const again = await opened(['hub.example']);
    expect([again.notice, again.ca]).toEqual([undefined, after.ca]);
    expect(await shake(again.current, again.ca, 'hub.example')).toBe('ok');
    expect(await shake(again.current, again.ca, 'new.example')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  it('is made again when its files are damaged or do not belong together', async () => {
    const { current } = await opened();
    await writeFile(join(directory, 'server.key'), 'nonsense');
    const second = (await opened()).current;
    expect(second.cert).not.toBe(current.cert);
    await writeFile(join(directory, 'server.pem'), current.cert);
    const third = await opened();
    expect(await shake(third.current, third.ca, 'localhost')).toBe('ok');
  });

  it('stays when it cannot be renewed, and the hub is told', async () => {
    const own = await opened();
    const { cert } = own.current;
    await appendFile(join(directory, 'authority', '1.pem'), 'x');
    await writeFile(join(directory, 'authority', '1.key'), 'nonsense');
    await clock.advance(368 * DAY_MS);
    await own.reload();
    expect(own.current.cert).toBe(cert);
    expect(kept.at(-1)).toMatch(/^The hub's certificate could not be renewed/);
    expect(kept.join()).not.toContain('PRIVATE KEY');
  });

  it.each(['', 'a b', '*.example', 'host:8443', 'fe80::1%eth0', 'x'.repeat(64), '-a.example'])(
    'is refused for the name %j',
    async (name) => {
      await expect(opened([name])).rejects.toMatchObject({ code: 'config_invalid' });
    },
  );
});
