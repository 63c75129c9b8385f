import { generateKeyPairSync } from 'node:crypto';
import { LIMITS, newStreamId, STREAM_SUBPROTOCOL } from '@culvert/protocol';
import { type GrantClaims, signGrant } from '@culvert/protocol/grant';
import { RawWebSocket, startGateway, type TestGateway, upgradeRequest } from '@culvert/testkit';
import { base64url, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';

let bench: TestGateway;
beforeAll(async () => {
  bench = await startGateway();
});
afterAll(() => bench.stop());

/** The status that answers a request made with these headers, or with this whole request. */
async function status(
  change: { headers?: Record<string, string>; request?: (correct: string) => string } = {},
): Promise<number | undefined> {
  const grant = await bench.grant(newStreamId(), 'device');
  const request = upgradeRequest(grant, change.headers);
  const client = await RawWebSocket.connect(grant, { ca: bench.ca, request: change.request?.(request) ?? request });
  const answer = await client.answer();
  if (answer !== 101) await client.closed;
  client.socket.destroy();
  return answer;
}

async function statusOfToken(token: string, streamId = newStreamId()): Promise<number | undefined> {
  const { url } = await bench.grant(streamId, 'device');
  const client = await RawWebSocket.open({ url, token }, { ca: bench.ca });
  client.socket.destroy();
  return Number(client.head.split(' ')[1]);
}

function claims(change: Partial<GrantClaims> = {}): GrantClaims {
  const expiresAt = Date.now() + LIMITS.handshakeMs;
  return { streamId: newStreamId(), side: 'device', audience: bench.gateway.bootId, expiresAt, ...change };
}

describe('the request', () => {
  test('a correct one is taken, with the accept value of RFC 6455 §1.3 and nothing that was not offered', async () => {
    const client = await RawWebSocket.open(await bench.grant(newStreamId(), 'device'), { ca: bench.ca });
    expect(client.head.split('\r\n')).toEqual([
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    ]);
    client.socket.destroy();
  });

  test.each([
    ['an upgrade to something else', { headers: { Upgrade: 'h2c' } }, 400],
    ['version 8', { headers: { 'Sec-WebSocket-Version': '8' } }, 426],
    ['no version', { headers: { 'Sec-WebSocket-Version': '' } }, 426],
    ['no key', { headers: { 'Sec-WebSocket-Key': '' } }, 400],
    ['a key of fifteen bytes', { headers: { 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAA' } }, 400],
    ['a malformed subprotocol', { headers: { 'Sec-WebSocket-Protocol': 'a b' } }, 400],
    ['no grant', { headers: { Authorization: '' } }, 401],
    ['another scheme', { headers: { Authorization: 'SharedAccessSignature sr=x' } }, 401],
    ['a grant that is no JWT', { headers: { Authorization: 'Bearer abc' } }, 401],
    ['POST', { request: (text: string) => text.replace('GET', 'POST') }, 400],
    ['another path', { request: (text: string) => text.replace('/device ', '/other ') }, 404],
    ['a query', { request: (text: string) => text.replace('/device ', '/device?a=1 ') }, 404],
  ])('%s is refused', async (_, change, expected) => {
    expect(await status(change)).toBe(expected);
  });

  test('permessage-deflate is declined', async () => {
    const grant = await bench.grant(newStreamId(), 'device');
    const socket = new WebSocket(grant.url, {
      ca: bench.ca,
      perMessageDeflate: true,
      headers: { Authorization: `Bearer ${grant.token}` },
    });
    await new Promise((resolve) => socket.once('open', resolve));
    expect(socket.extensions).toBe('');
    socket.terminate();
  });

  test.each([
    ['MQTT', 'MQTT'],
    ['AMQP, MQTT', 'AMQP'],
    [`mqtt, ${STREAM_SUBPROTOCOL}`, STREAM_SUBPROTOCOL],
  ])('of the subprotocols %s, %s is echoed', async (offered, echoed) => {
    const grant = await bench.grant(newStreamId(), 'device');
    const client = await RawWebSocket.open(grant, { ca: bench.ca, headers: { 'Sec-WebSocket-Protocol': offered } });
    expect(client.head).toContain(`\r\nSec-WebSocket-Protocol: ${echoed}`);
    client.socket.destroy();
  });
});

describe('the grant', () => {
  test.each<[string, () => Promise<string>]>([
    ['for the boot id of another gateway', () => signGrant(claims({ audience: 'another' }), bench.signingKey)],
    ['that has expired', () => signGrant(claims({ expiresAt: Date.now() - 1 }), bench.signingKey)],
    ['for the other side', () => signGrant(claims({ side: 'service' }), bench.signingKey)],
    ['for another stream', () => signGrant(claims(), bench.signingKey)],
    ['signed with another key', async () => signWith(generateKeyPairSync('ed25519').privateKey)],
    ['not signed at all', async () => unsigned({ alg: 'none', typ: 'JWT' })],
    ['signed with HMAC by the public key', async () => hmacConfusion()],
    ['longer than 999 bytes', async () => `${await signGrant(claims(), bench.signingKey)}${'A'.repeat(999)}`],
  ])('%s is refused', async (_, make) => {
    expect(await statusOfToken(await make())).toBe(401);
    expect(bench.gateway.waitingConnections).toBe(0);
  });

  test('that is correct, by the same way of making it, is taken', async () => {
    const streamId = newStreamId();
    expect(await statusOfToken(await signGrant(claims({ streamId }), bench.signingKey), streamId)).toBe(101);
  });

  test('is taken once, also after its stream is over', async () => {
    const streamId = newStreamId();
    const grant = await bench.grant(streamId, 'device');
    const first = await RawWebSocket.open(grant, { ca: bench.ca });
    const second = await RawWebSocket.open(grant, { ca: bench.ca });
    expect(second.head).toMatch(/^HTTP\/1.1 401 /);
    first.socket.destroy();
    await bench.event('stream-closed', streamId);
    const third = await RawWebSocket.open(grant, { ca: bench.ca });
    expect(third.head).toMatch(/^HTTP\/1.1 401 /);
    expect(bench.events.filter(({ type }) => type === 'grant-refused')).toContainEqual({
      type: 'grant-refused',
      remoteAddress: '127.0.0.1',
      error: 'grant_invalid',
      detail: 'The grant was used before.',
    });
  });

  test('used twice at the same moment is taken once', async () => {
    const grant = await bench.grant(newStreamId(), 'device');
    const both = await Promise.all([1, 2].map(() => RawWebSocket.open(grant, { ca: bench.ca })));
    expect(both.map((client) => client.head.slice(0, 12)).sort()).toEqual(['HTTP/1.1 101', 'HTTP/1.1 401']);
    for (const client of both) client.socket.destroy();
  });

  test('is void after a restart', async () => {
    const grant = await bench.grant(newStreamId(), 'device');
    bench.gateway.destroy();
    bench.restart();
    const client = await RawWebSocket.open(grant, { ca: bench.ca });
    expect(client.head).toMatch(/^HTTP\/1.1 401 /);
  });
});

async function signWith(key: Parameters<SignJWT['sign']>[0]): Promise<string> {
  const { streamId, side, audience, expiresAt } = claims();
  return new SignJWT({ sid: streamId, side, exp: expiresAt / 1000 })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
    .setAudience(audience)
    .sign(key);
}

function unsigned(header: Record<string, string>): string {
  const { streamId, side, audience, expiresAt } = claims();
  const payload = { sid: streamId, side, aud: audience, exp: expiresAt / 1000 };
  return `${base64url.encode(JSON.stringify(header))}.${base64url.encode(JSON.stringify(payload))}.`;
}

/** The old trick: the verifier's public key, which is no secret, as the secret of an HMAC. */
async function hmacConfusion(): Promise<string> {
  const publicKey = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' });
  const { streamId, side, audience, expiresAt } = claims();
  return new SignJWT({ sid: streamId, side, exp: expiresAt / 1000 })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setAudience(audience)
    .sign(publicKey);
}
