import { CulvertError } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { networkError } from './network-error.ts';

const withCode = (code: string, message = 'x'): Error => Object.assign(new Error(message), { code });

describe('networkError', () => {
  it.each([
    ['ENOTFOUND', 'unreachable', 'hub.example:443 could not be reached: the name is not known (ENOTFOUND).'],
    ['ECONNREFUSED', 'unreachable', 'hub.example:443 could not be reached: nothing listens there (ECONNREFUSED).'],
    ['ERR_SSL_SOMETHING', 'unreachable', 'hub.example:443 could not be reached: TLS failed there (ERR_SSL_SOMETHING).'],
    [
      'HPE_INVALID_CONSTANT',
      'unreachable',
      'hub.example:443 could not be reached: it does not speak HTTP (HPE_INVALID_CONSTANT).',
    ],
    [
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'untrusted',
      "The certificate of hub.example:443 comes from an authority this machine does not know: pass the hub's CA certificate (--ca-file, or `ca` in the SDKs).",
    ],
    [
      'CERT_HAS_EXPIRED',
      'untrusted',
      'The certificate of hub.example:443 has expired; renew it, or set the clock of this machine (CERT_HAS_EXPIRED).',
    ],
    ['UNSPECIFIED', 'untrusted', 'The certificate of hub.example:443 is not valid: x.'],
    ['ABORT_ERR', 'aborted', 'Cancelled.'],
  ])('%s is %s', (code, expected, message) => {
    expect(networkError(withCode(code), 'hub.example:443')).toMatchObject({ code: expected, message });
  });

  it('tells the first of several attempts', () => {
    const both = new AggregateError([withCode('ECONNREFUSED'), withCode('ENETUNREACH')]);
    expect(networkError(both, 'hub:1').message).toContain('nothing listens there');
  });

  it('returns one of ours as it is', () => {
    const error = new CulvertError('draining');
    expect(networkError(error, 'hub:1')).toBe(error);
  });

  it('keeps the cause, but not the options of a SOCKS client, which hold a password', () => {
    const plain = withCode('EPIPE');
    expect(networkError(plain, 'hub:1').cause).toBe(plain);
    const socks = Object.assign(new Error('Socks5 Authentication failed'), {
      options: { proxy: { password: 'secret' } },
    });
    const mapped = networkError(socks, 'hub:1');
    expect(mapped.message).toContain('Socks5 Authentication failed');
    expect(mapped.cause).not.toHaveProperty('options');
  });

  it('takes what is no Error', () => {
    expect(networkError('odd', 'hub:1').message).toBe('hub:1 could not be reached: odd.');
  });
});
