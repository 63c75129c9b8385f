import { connect as connectTls } from 'node:tls';
import { CONTROL_PATH, formatAuthority, parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { webSocketDuplex } from '@culvert/stream';
import { AmqpDevice, FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

let clock: FakeClock;
let test: TestHub;

beforeEach(async () => {
  // The clock starts at a whole second, because tokens expire at whole seconds.
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  test = await startHub({ clock, config: { amqpListen: '127.0.0.1:0' } });
});

afterEach(() => test.stop());

const overTls = () => connectTls({ host: '127.0.0.1', port: test.hub.amqpAddress?.port ?? 0, ca: test.ca });

const overWebSocket = () => {
  const url = `wss://127.0.0.1:${test.port}${CONTROL_PATH}`;
  return webSocketDuplex(new WebSocket(url, ['AMQPWSB10'], { ca: test.ca }), { pingMs: 0, clock });
};

/** Creates a policy's token. @param below the part of the hub for which the token is valid; default the whole hub */
async function tokenOf(name: string, below = ''): Promise<string> {
  const { key, policy } = parseServiceConnectionString(await test.policy(name));
  const audience = `${formatAuthority('127.0.0.1', test.port)}${below}`;
  return signSasToken({ audience, key, policy, expiry: Math.floor(clock.now() / 1000) + 3_600 });
}

describe.each([
  ['TLS', overTls],
  ['WebSocket', overWebSocket],
])('a service that comes by AMQP over %s', (_name, connection) => {
  const open = async (): Promise<AmqpDevice> => {
    const peer = new AmqpDevice(connection(), { mechanism: 'ANONYMOUS' }, { max_frame_size: 65_536 });
    await peer.opened();
    return peer;
  };

  it('stands with both its links beside devices, until its policy’s key is rotated twice', async () => {
    const peer = await open();
    expect(await peer.putToken('amqps://127.0.0.1:5671/', await tokenOf('service'))).toMatchObject({ status: 200 });
    await peer.send('amqps://127.0.0.1:5671/messages/deviceBound');
    await peer.receive('amqps://127.0.0.1:5671/messages/serviceBound/feedback');
    expect(await test.event('service-connected')).toMatchObject({ principal: 'policy:service' });
    await test.owner.policies.rotate('service');
    await expect(peer.send('/devices/d1/streams')).rejects.toThrow('amqp:unauthorized-access');
    await test.owner.policies.rotate('service');
    await peer.over;
    expect(peer.closeCondition).toBe('amqp:unauthorized-access');
    expect(await test.event('service-disconnected')).toMatchObject({ principal: 'policy:service', error: 'revoked' });
  });

  it.each([
    ['a policy that may not', () => tokenOf('device')],
    ['a token for a part of the hub', () => tokenOf('service', '/devices/d1')],
    ['a token that is none', async () => 'SharedAccessSignature sr=x'],
  ])('is refused with %s', async (_name, token) => {
    const peer = await open();
    expect(await peer.putToken('amqps://127.0.0.1:5671/', await token())).toMatchObject({ status: 401 });
    expect(await test.event('connection-refused')).toMatchObject({
      error: expect.stringMatching(/unauthorized|forbidden/),
    });
    peer.connection.destroy();
  });

  it('is told that the hub stops, and does not hold it up', async () => {
    const peer = await open();
    await peer.putToken('127.0.0.1', await tokenOf('iothubowner'));
    await test.hub.stop(0);
    await peer.over;
    expect(peer.closeCondition).toBe('amqp:connection:forced');
  });
});
