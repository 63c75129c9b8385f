import { expect, test } from 'vitest';
import { fuzzCertificatePaths } from './certificate-paths.ts';
import { fuzzCertificates } from './certificates.ts';
import { fuzzClientHello } from './client-hello.ts';

test('300 certificates, most of them damaged, of devices and authorities', async () => {
  const counts = await fuzzCertificates(1, 300);
  for (const outcome of [
    'let in by-authority',
    'let in by-thumbprint',
    'refused by-authority',
    'refused by-thumbprint',
  ])
    expect(counts[outcome] ?? 0, outcome).toBeGreaterThan(5);
  for (const outcome of ['put 200', 'put 400']) expect(counts[outcome] ?? 0, outcome).toBeGreaterThan(3);
}, 60_000);

test('150 chains, on which the hub and OpenSSL agree', async () => {
  const { both, neither } = await fuzzCertificatePaths(1, 150);
  expect(Math.min(both, neither)).toBeGreaterThan(40);
}, 60_000);

test('300 beginnings of TLS, most of them damaged', async () => {
  const { tls, nothing } = await fuzzClientHello(1, 300);
  expect(Math.min(tls, nothing)).toBeGreaterThan(30);
}, 60_000);
