import { X509Certificate } from 'node:crypto';
import { testCertificate } from '@culvert/testkit';
import { beforeAll, describe, expect, it } from 'vitest';
import { assertGateway, assertGatewayPatterns } from './gateway-check.ts';

const PATH = `/bridges/${'ab'.repeat(16)}/device`;

let certificate: X509Certificate;

beforeAll(async () => {
  const { cert } = await testCertificate({
    names: ['hub.example', '*.gw.example', 'localhost'],
    addresses: ['192.0.2.7', '127.0.0.1'],
  });
  certificate = new X509Certificate(cert);
});

function told(url: string, options: { host?: string; gateways?: string[]; authenticated?: boolean } = {}): string {
  const { host = 'hub.example', gateways, authenticated = true } = options;
  try {
    assertGateway(url, 'device', { host, certificate: () => (authenticated ? certificate : undefined) }, gateways);
    return 'in';
  } catch (error) {
    expect(error).toMatchObject({ code: 'untrusted' });
    return 'refused';
  }
}

describe('a gateway', () => {
  it.each([
    ['the host that was connected to', `wss://hub.example:443${PATH}`],
    ['that host at any port, in any spelling', `wss://HUB.example.:8444${PATH}`],
    ['a name in the certificate, by its wildcard', `wss://eu1.gw.example${PATH}`],
    ['an address in the certificate', `wss://192.0.2.7:8443${PATH}`],
  ])('may be %s', (_what, url) => {
    expect(told(url)).toBe('in');
  });

  it.each([
    ['another host', `wss://nas.local${PATH}`],
    ['two labels below a wildcard', `wss://a.eu1.gw.example${PATH}`],
    ['the wildcard’s own domain', `wss://gw.example${PATH}`],
    ['another address', `wss://192.168.1.1${PATH}`],
    ['this machine, though the certificate names it', `wss://localhost:5432${PATH}`],
    ['this machine by its address', `wss://127.0.0.1:22${PATH}`],
    ['this machine by an address of IPv6', `wss://[::ffff:127.0.0.1]:22${PATH}`],
    ['plain WebSocket', `ws://hub.example${PATH}`],
    ['HTTPS', `https://hub.example${PATH}`],
    ['another path', 'wss://hub.example/admin'],
    ['a path below a grant’s', `wss://hub.example${PATH}/x`],
    ['the other side’s path', `wss://hub.example/bridges/${'ab'.repeat(16)}/service`],
    ['a query', `wss://hub.example${PATH}?x=1`],
    ['credentials', `wss://user@hub.example${PATH}`],
    ['no URL at all', 'hub.example'],
  ])('may not be %s', (_what, url) => {
    expect(told(url)).toBe('refused');
  });

  it('counts by its certificate only where that was verified', () => {
    expect(told(`wss://eu1.gw.example${PATH}`, { authenticated: false })).toBe('refused');
    expect(told(`wss://hub.example${PATH}`, { authenticated: false })).toBe('in');
  });

  it('may be this machine where the hub is on it', () => {
    expect(told(`wss://127.0.0.1:8444${PATH}`, { host: 'localhost' })).toBe('in');
    expect(told(`wss://localhost:8444${PATH}`, { host: '127.0.0.1' })).toBe('in');
  });

  it.each([
    ['gw.other.example', 'wss://gw.other.example:9999', 'in'],
    ['*.other.example', 'wss://gw.other.example', 'in'],
    ['*.other.example', 'wss://a.gw.other.example', 'refused'],
    ['*.other.example', 'wss://other.example', 'refused'],
    ['gw.other.example:8444', 'wss://gw.other.example:8444', 'in'],
    ['gw.other.example:443', 'wss://gw.other.example:8444', 'refused'],
    ['gw.other.example:443', 'wss://gw.other.example', 'in'],
    ['10.0.0.5', 'wss://10.0.0.5:8443', 'in'],
    ['[2001:db8::1]:8443', 'wss://[2001:DB8:0::1]:8443', 'in'],
    ['localhost', 'wss://localhost:8443', 'in'],
  ])('listed as %s: %s is %s', (pattern, url, expected) => {
    expect(told(`${url}${PATH}`, { gateways: [pattern] })).toBe(expected);
  });

  it('says what was refused and how to let it in', () => {
    const hub = { host: 'hub.example', certificate: () => certificate };
    expect(() => assertGateway(`wss://nas.local:5001${PATH}`, 'device', hub)).toThrow(
      /nas\.local:5001 as its gateway.*--gateway/,
    );
  });
});

it.each(['', '*', '*.', 'a b', 'https://x', 'x/y', 'user@x', '*.10.0.0.1', 'a.*.example', 'x:99999'])(
  'the pattern %j is refused in one line',
  (pattern) => {
    expect(() => assertGatewayPatterns([pattern])).toThrow(/^gateways: '.*' is not HOST/);
  },
);
