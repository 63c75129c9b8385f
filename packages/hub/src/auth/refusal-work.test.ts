import { createHmac, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Identity, identityPath, signSasToken } from '@culvert/protocol';
import { deviceCertificate, FakeClock, sampleDevice, sampleModule } from '@culvert/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStore, type Store } from '../registry/open-store.ts';
import { Authenticator } from './authenticate.ts';
import { type ClientCertificate, thumbprint } from './client-certificate.ts';

vi.mock(import('node:crypto'), async (original) => {
  const crypto = await original();
  return { ...crypto, createHmac: vi.fn(crypto.createHmac) };
});

const HUB = 'hub.example';
const WRONG = Buffer.alloc(32, 9).toString('base64');
const ABSENT = { kind: 'absent' } as const;

let directory: string;
let store: Store;
let authenticator: Authenticator;
let certificate: ClientCertificate;
let storeCalls = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-work-'));
  const clock = new FakeClock(Date.now());
  const nothing = () => undefined;
  store = await openStore({
    directory,
    clock,
    listener: { identityChanged: nothing, policyChanged: nothing, authoritiesChanged: nothing },
    onCall: () => {
      storeCalls++;
    },
  });
  for (const deviceId of ['online', 'asleep', 'disabled']) {
    const status = deviceId === 'disabled' ? 'disabled' : 'enabled';
    await store.registry.put(sampleDevice(deviceId, { status }), ABSENT);
    await store.registry.put(sampleModule(deviceId, 'm'), ABSENT);
    await store.registry.put(sampleModule(deviceId, 'none', { authentication: { type: 'none' } }), ABSENT);
  }
  const thumbprints = { primaryThumbprint: 'AB'.repeat(32), secondaryThumbprint: '' };
  await store.registry.put(
    sampleDevice('by-thumbprint', { authentication: { type: 'selfSigned', ...thumbprints } }),
    ABSENT,
  );
  await store.registry.put(sampleDevice('by-authority', { authentication: { type: 'certificateAuthority' } }), ABSENT);
  authenticator = new Authenticator({ ...store, audiences: [HUB], clock });
  const made = await deviceCertificate('x', { notAfter: new Date(Date.now() + 86_400_000) });
  const parsed = new X509Certificate(made.cert);
  const fingerprints = { sha1: thumbprint(parsed.fingerprint), sha256: thumbprint(parsed.fingerprint256) };
  certificate = { certificate: parsed, sent: [], commonName: 'x', ...fingerprints };
});
afterAll(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

/** The cost of one refusal. */
interface Work {
  readonly storeCalls: number;
  readonly hmacs: number;
}

async function work(refused: () => Promise<unknown>): Promise<Work> {
  const hmacs = vi.mocked(createHmac);
  hmacs.mockClear();
  storeCalls = 0;
  await expect(refused()).rejects.toMatchObject({ code: 'unauthorized' });
  return { storeCalls, hmacs: hmacs.mock.calls.length };
}

/** The costs of the first three refusals for an identity. */
async function three(refuse: () => Promise<unknown>): Promise<Work[]> {
  return [await work(refuse), await work(refuse), await work(refuse)];
}

const withKey = (identity: Identity) => async () => {
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const token = await signSasToken({ audience: `${HUB}/${identityPath(identity)}`, key: WRONG, expiry });
  return authenticator.authenticateDevice({ identity, token, certificate: undefined });
};

const withPolicy = (policy: string) => async () => {
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const token = await signSasToken({ audience: HUB, key: WRONG, expiry, policy });
  return authenticator.authenticateSas(token, { path: 'devices' });
};

describe('the work of a refusal', () => {
  // Brings the cache to the state that connected devices and a recently authenticated service leave.
  beforeEach(async () => {
    for (const moduleId of [undefined, 'm', 'none']) await store.registry.get({ deviceId: 'online', moduleId });
    await store.policies.get('service');
  });

  it('is the same for a wrong key, whatever there is of a device', async () => {
    const ids = ['nobody', 'asleep', 'online', 'disabled', 'by-thumbprint', 'by-authority'];
    for (const deviceId of ids) {
      expect([deviceId, await three(withKey({ deviceId }))]).toEqual([
        deviceId,
        [
          { storeCalls: 1, hmacs: 2 },
          { storeCalls: 0, hmacs: 2 },
          { storeCalls: 0, hmacs: 2 },
        ],
      ]);
    }
  });

  it.each(['nobody', 'asleep', 'online', 'disabled'])('is the same whatever modules %s has', async (deviceId) => {
    // The first refusal for the device itself is not counted.
    await work(withKey({ deviceId }));
    for (const moduleId of ['m', 'none', 'nothing']) {
      expect([moduleId, await three(withKey({ deviceId, moduleId }))]).toEqual([
        moduleId,
        [
          { storeCalls: 1, hmacs: 4 },
          { storeCalls: 0, hmacs: 4 },
          { storeCalls: 0, hmacs: 4 },
        ],
      ]);
    }
  });

  it('is the same for policies', async () => {
    for (const policy of ['service', 'device', 'no-such-policy', '__proto__']) {
      expect([policy, await three(withPolicy(policy))]).toEqual([
        policy,
        [
          { storeCalls: 1, hmacs: 2 },
          { storeCalls: 0, hmacs: 2 },
          { storeCalls: 0, hmacs: 2 },
        ],
      ]);
    }
  });

  it('is the same for certificates: beside the identity the authorities are read', async () => {
    const ids = ['cert-nobody', 'cert-asleep', 'cert-online', 'cert-thumbprint', 'cert-authority'];
    await store.registry.put(sampleDevice('cert-asleep'), ABSENT);
    await store.registry.put(sampleDevice('cert-online'), ABSENT);
    await store.registry.get({ deviceId: 'cert-online' });
    const thumbprints = { primaryThumbprint: 'AB'.repeat(32), secondaryThumbprint: '' };
    const bySelf = { type: 'selfSigned', ...thumbprints } as const;
    await store.registry.put(sampleDevice('cert-thumbprint', { authentication: bySelf }), ABSENT);
    const byAuthority = { type: 'certificateAuthority' } as const;
    await store.registry.put(sampleDevice('cert-authority', { authentication: byAuthority }), ABSENT);
    for (const deviceId of ids) {
      const shown = () => authenticator.authenticateDevice({ identity: { deviceId }, token: undefined, certificate });
      expect([deviceId, await three(shown)]).toEqual([
        deviceId,
        [
          { storeCalls: 2, hmacs: 0 },
          { storeCalls: 1, hmacs: 0 },
          { storeCalls: 1, hmacs: 0 },
        ],
      ]);
    }
  });
});
