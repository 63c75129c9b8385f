import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import { testCertificate } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { certificateFault, probeHub } from './hub-probe.ts';

const DAY_MS = 86_400_000;
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS);

it.each([
  ['an unknown authority', {}, false, 'authority', /signed by/],
  ['expired', { notBefore: inDays(-1.5), notAfter: inDays(-1) }, true, 'time', /valid from .* this clock says/],
  ['not valid yet', { notBefore: inDays(1), notAfter: inDays(1.5) }, true, 'time', /valid from .* this clock says/],
  ['another name', { names: ['other.example'], addresses: [] }, true, 'name', /It is for other\.example\.$/],
] as const)('tells a certificate that is from/is %s', async (_what, options, trusted, fault, message) => {
  const { cert, key, ca } = await testCertificate(options);
  const server = createServer({ cert, key }, (socket) => socket.on('error', () => socket.destroy())).listen(
    0,
    '127.0.0.1',
  );
  server.on('tlsClientError', () => undefined);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    const refused = await probeHub('127.0.0.1', port, { proxy: false, ...(trusted ? { ca } : {}) }).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(CulvertError);
    expect(certificateFault(refused as CulvertError)).toBe(fault);
    expect((refused as CulvertError).message).toMatch(message);
  } finally {
    server.close();
  }
});
