import { newStreamId } from '@culvert/protocol';
import {
  type GrantClaims,
  grantPath,
  newGrantKeys,
  parseGrantPath,
  signGrant,
  verifyGrant,
} from '@culvert/protocol/grant';
import { jwtVerify, SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';

const NOW = 1_795_000_000_123;
let keys: Awaited<ReturnType<typeof newGrantKeys>>;
const claims: GrantClaims = { streamId: newStreamId(), side: 'device', audience: 'boot-1', expiresAt: NOW + 60_000 };

beforeAll(async () => {
  keys = await newGrantKeys();
});

const verify = (token: string, over: { audience?: string; now?: number } = {}) =>
  verifyGrant(token, { key: keys.publicKey, audience: 'boot-1', now: NOW, ...over });

describe('a grant', () => {
  it('says what was signed, to the millisecond, in fewer than 1,000 bytes', async () => {
    const token = await signGrant(claims, keys.privateKey);
    expect(token.length).toBeLessThan(1_000);
    expect(await verify(token)).toEqual(claims);
    expect(await verify(token, { now: NOW + 59_999 })).toEqual(claims);
  });

  it('is a JWT to a library, and one that a library made is taken', async () => {
    const { payload, protectedHeader } = await jwtVerify(await signGrant(claims, keys.privateKey), keys.publicKey, {
      audience: 'boot-1',
      currentDate: new Date(NOW),
    });
    expect(protectedHeader).toEqual({ alg: 'EdDSA', typ: 'JWT' });
    expect(payload).toEqual({ sid: claims.streamId, side: 'device', exp: claims.expiresAt / 1000, aud: 'boot-1' });
    const made = await new SignJWT(payload).setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' }).sign(keys.privateKey);
    expect(await verify(made)).toEqual(claims);
  });

  it('is refused whatever character of it is changed', async () => {
    const token = await signGrant(claims, keys.privateKey);
    for (let at = 0; at < token.length - 1; at++) {
      const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
      await expect(verify(changed), `at ${at}`).rejects.toMatchObject({ code: 'grant_invalid' });
    }
  });

  it('is nothing to another gateway, after its time, or under another key', async () => {
    const token = await signGrant(claims, keys.privateKey);
    const refused = expect.objectContaining({ code: 'grant_invalid' });
    await expect(verify(token, { audience: 'boot-2' })).rejects.toEqual(refused);
    await expect(verify(token, { now: NOW + 60_000 })).rejects.toEqual(refused);
    const others = await newGrantKeys();
    await expect(verify(await signGrant(claims, others.privateKey))).rejects.toEqual(refused);
    await expect(verify(`${token}x`)).rejects.toEqual(refused);
    await expect(verify('x'.repeat(2_000))).rejects.toEqual(refused);
  });

  it('is refused with another algorithm or without a claim', async () => {
    const secret = Buffer.alloc(32, 1);
    const sign = (body: Record<string, unknown>) =>
      new SignJWT({ sid: claims.streamId, side: 'device', exp: claims.expiresAt / 1000, aud: 'boot-1', ...body });
    const symmetric = await sign({}).setProtectedHeader({ alg: 'HS256' }).sign(secret);
    await expect(verify(symmetric)).rejects.toMatchObject({ code: 'grant_invalid' });
    const others = [{ alg: 'EdDSA' }, { alg: 'Ed25519', typ: 'JWT' }, { alg: 'EdDSA', typ: 'JWT', kid: 'x' }];
    for (const header of others) {
      const token = await sign({}).setProtectedHeader(header).sign(keys.privateKey);
      await expect(verify(token), JSON.stringify(header)).rejects.toMatchObject({ code: 'grant_invalid' });
    }
    for (const body of [{ side: 'both' }, { sid: 'x' }, { exp: undefined }, { aud: undefined }, { side: undefined }]) {
      const token = await sign(body).setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' }).sign(keys.privateKey);
      await expect(verify(token), JSON.stringify(body)).rejects.toMatchObject({ code: 'grant_invalid' });
    }
  });

  it('has a path that names stream and side', () => {
    const path = grantPath(claims.streamId, 'service');
    expect(parseGrantPath(path)).toEqual({ streamId: claims.streamId, side: 'service' });
    for (const other of [`${path}/`, `${path}?x`, path.toUpperCase(), '/bridges/', path.replace('service', 'both')]) {
      expect(parseGrantPath(other)).toBeUndefined();
    }
  });
});
