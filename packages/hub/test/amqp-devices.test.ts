import { connect as connectTls } from 'node:tls';
import {
  formatAuthority,
  type Identity,
  identityPath,
  parseServiceConnectionString,
  signSasToken,
} from '@culvert/protocol';
import { dialStream } from '@culvert/stream';
import { AmqpDevice, type AmqpSasl, amqpDeviceUnderTest, FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let clock: FakeClock;
let test: TestHub;

beforeEach(async () => {
  // The clock starts at a whole second, because tokens expire at whole seconds.
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  test = await startHub({ clock, config: { amqpListen: '127.0.0.1:0' } });
});

afterEach(() => test.stop());

/** Registers a device. Returns its identity, and a function that creates tokens with its key. */
async function register(identity: Identity) {
  const { authentication } = await test.owner.devices.create(identity.deviceId);
  const key = authentication.symmetricKey.primaryKey ?? '';
  const audience = `${formatAuthority('127.0.0.1', test.port)}/${identityPath(identity)}`;
  const token = (seconds: number) => signSasToken({ audience, key, expiry: Math.floor(clock.now() / 1000) + seconds });
  return { identity, token };
}

async function connect(sasl?: AmqpSasl): Promise<AmqpDevice> {
  const socket = connectTls({ host: '127.0.0.1', port: test.hub.amqpAddress?.port ?? 0, ca: test.ca });
  const device = sasl === undefined ? new AmqpDevice(socket) : new AmqpDevice(socket, sasl);
  await device.opened();
  return device;
}

/** Opens a stream to the device, sends a text that the device echoes, and returns the received text. */
async function echo(device: AmqpDevice, identity: Identity): Promise<string> {
  const { nextOffer, answer } = amqpDeviceUnderTest(device, identity);
  const stream = test.owner.openStream(identity.deviceId, { name: 'echo' });
  const offer = await nextOffer();
  answer({ requestId: offer.requestId, accepted: true });
  const end = await dialStream(offer.grant, { outbound: test.outbound });
  end.pipe(end);
  const service = await stream;
  service.end('there and back');
  let text = '';
  for await (const chunk of service) text += chunk;
  return text;
}

describe('a hub with an AMQP listener', () => {
  it('takes a device that puts its token, and joins a stream to it', async () => {
    const { identity, token } = await register({ deviceId: 'press-7' });
    const device = await connect();
    expect(await device.putToken(identity, await token(3_600))).toEqual({ status: 200, description: 'OK' });
    await device.attachStreams(identity);
    expect(await echo(device, identity)).toBe('there and back');
    expect(await test.event('stream-answered')).toMatchObject({ deviceId: 'press-7', protocol: 'amqp' });
    device.connection.destroy();
  });

  it('keeps a device that renews its token, and its streams links', async () => {
    const { identity, token } = await register({ deviceId: 'press-7' });
    const device = await connect();
    await device.putToken(identity, await token(40));
    await device.attachStreams(identity);
    for (let renewals = 0; renewals < 10; renewals++) {
      await clock.advance(60_000);
      expect(await device.putToken(identity, await token(40))).toMatchObject({ status: 200 });
    }
    expect(await echo(device, identity)).toBe('there and back');
    // The token is valid for 40 s, and the hub allows five minutes more, because clocks may differ.
    for (let seconds = 0; seconds < 340; seconds += 20) {
      device.showLife();
      await clock.advance(20_000);
    }
    expect(await test.event('device-detached')).toMatchObject({ error: 'token_expired', connectedMs: 940_000 });
    await device.over;
    expect(device.closeCondition).toBe('amqp:unauthorized-access');
  });

  it('takes a policy that may speak for devices, and no other', async () => {
    const { identity } = await register({ deviceId: 'press-7' });
    const plain = async (name: string): Promise<AmqpSasl> => {
      const { key, policy } = parseServiceConnectionString(await test.policy(name));
      const audience = formatAuthority('127.0.0.1', test.port);
      const token = await signSasToken({ audience, key, policy, expiry: Math.floor(clock.now() / 1000) + 600 });
      return { mechanism: 'PLAIN', response: `\0${name}@sas.root.127.0.0.1\0${token}` };
    };
    const device = await connect(await plain('device'));
    await device.attachStreams(identity);
    expect(await echo(device, identity)).toBe('there and back');
    device.connection.destroy();
    const service = await connect(await plain('service'));
    await expect(service.send('/devices/press-7/streams')).rejects.toThrow('amqp:unauthorized-access');
    expect(service.detached).toMatchObject([{ condition: 'amqp:unauthorized-access' }]);
    service.connection.destroy();
  });

  it('ends the channel of a device that is disabled, and lets those who share its connection be', async () => {
    const [one, other] = [await register({ deviceId: 'press-7' }), await register({ deviceId: 'press-8' })];
    const device = await connect();
    for (const { identity, token } of [one, other]) {
      await device.putToken(identity, await token(3_600));
      await device.attachStreams(identity);
    }
    await test.owner.devices.update({ deviceId: 'press-7', status: 'disabled' });
    expect(await test.event('device-detached')).toMatchObject({ deviceId: 'press-7', error: 'revoked' });
    expect(await echo(device, other.identity)).toBe('there and back');
    device.connection.destroy();
  });

  it('tells devices that it stops, on every connection, and then does', async () => {
    const devices = [];
    for (const deviceId of ['press-7', 'press-8']) {
      const { identity, token } = await register({ deviceId });
      const device = await connect();
      await device.putToken(identity, await token(3_600));
      devices.push(device);
    }
    // The hub also closes a connection that has not authenticated.
    const stranger = await connect();
    await test.hub.stop(0);
    for (const device of devices) {
      await device.over;
      expect(device.closeCondition).toBe('amqp:connection:forced');
    }
    await stranger.over;
  });
});
