import { createHmac } from 'node:crypto';
import { audienceCovers, parseSasToken, sasStringToSign, signSasToken } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';

const KEY = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');

describe('a SAS token', () => {
  it('is signed over the audience as it stands in it', async () => {
    const text = await signSasToken({ audience: 'hub.example:8443/devices/a b', key: KEY, expiry: 1_900_000_000 });
    const token = parseSasToken(text);
    expect(token).toMatchObject({
      audience: 'hub.example%3A8443%2Fdevices%2Fa%20b',
      expiry: 1_900_000_000,
      policy: undefined,
    });
    const hmac = createHmac('sha256', Buffer.from(KEY, 'base64')).update(
      'hub.example%3A8443%2Fdevices%2Fa%20b\n1900000000',
    );
    expect(Buffer.from(token.signature).equals(hmac.digest())).toBe(true);
    expect(sasStringToSign(token)).toBe('hub.example%3A8443%2Fdevices%2Fa%20b\n1900000000');
  });

  it('is read in every form that real clients write', () => {
    const forms = [
      // In this order: Node service, C device (unescaped sr, lower-case escapes), a form with an empty skn, registry tools.
      'SharedAccessSignature sr=127.0.0.1&sig=AAECAw%3D%3D&se=1795381488&skn=service',
      'SharedAccessSignature sr=127.0.0.1/devices/MyDevice&sig=AAECAw%3d%3d&se=1795384032',
      'SharedAccessSignature sr=127.0.0.1%2fdevices%2fMyDevice&se=1795384032&sig=AAECAw%3D%3D&skn=',
      'SharedAccessSignature skn=iothubowner&se=1795384032&sr=127.0.0.1&sig=AAECAw==',
    ];
    expect(forms.map((text) => parseSasToken(text).policy)).toEqual(['service', undefined, undefined, 'iothubowner']);
    for (const text of forms) expect([...parseSasToken(text).signature]).toEqual([0, 1, 2, 3]);
  });

  it.each([
    '',
    'Bearer x',
    'sharedaccesssignature sr=a&sig=AAAA&se=1',
    'SharedAccessSignature  sr=a&sig=AAAA&se=1',
    'SharedAccessSignature sr=a&sig=AAAA',
    'SharedAccessSignature sr=&sig=AAAA&se=1',
    'SharedAccessSignature sr=a&sig=AAAA&se=-1',
    'SharedAccessSignature sr=a&sig=AAAA&se=1e9',
    'SharedAccessSignature sr=a&sig=%zz&se=1',
    'SharedAccessSignature sr=a&sig=A_A&se=1',
    'SharedAccessSignature sr=a&sr=b&sig=AAAA&se=1',
    'SharedAccessSignature sr=a&sig=AAAA&se=1&x=y',
    `SharedAccessSignature sr=${'a'.repeat(5000)}&sig=AAAA&se=1`,
  ])('is refused as %.60s', (text) => {
    expect(() => parseSasToken(text)).toThrow(expect.objectContaining({ code: 'unauthorized' }));
  });
});

describe('an audience', () => {
  it.each([
    ['hub.example', 'hub.example/devices/d1', true],
    ['HUB.example/', 'hub.example/devices/d1', true],
    ['hub.example%2Fdevices%2Fd1', 'hub.example/devices/d1', true],
    ['hub.example%3A8443', 'hub.example:8443/devices/d1', true],
    ['hub.example/devices/d1', 'hub.example/devices/d1', true],
    ['hub.example/devices/d1', 'hub.example/devices/d1/modules/m', true],
    ['HUB.Example%2Fdevices%2Fd1', 'hub.example/devices/d1', true],
    // Ids that differ only in case belong to different devices.
    ['hub.example/devices/D1', 'hub.example/devices/d1', false],
    ['hub.example%2Fdevices%2FD1', 'hub.example/devices/d1', false],
    ['hub.example/Devices/d1', 'hub.example/devices/d1', false],
    ['hub.example/devices/d1/modules/M', 'hub.example/devices/d1/modules/m', false],
    ['hub.example/devices/d1', 'hub.example/devices/d10', false],
    ['hub.example/devices/d1', 'hub.example/devices', false],
    ['hub.example.evil', 'hub.example/devices/d1', false],
    ['hub', 'hub.example/devices/d1', false],
    // If the audience contains an unescaped slash, escapes are part of the id.
    ['hub.example/devices/%41', 'hub.example/devices/A', false],
    ['hub.example/devices/%41', 'hub.example/devices/%41', true],
    ['%zz', 'hub.example/devices/d1', false],
  ])('%s covers %s: %s', (audience, target, covers) => {
    expect(audienceCovers(audience, target)).toBe(covers);
  });
});
