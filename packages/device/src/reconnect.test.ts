import { formatOfferTopic } from '@culvert/protocol';
import { FakeClock, ScriptedHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient, type DeviceClientOptions } from './device-client.ts';
import { TakeOvers } from './take-overs.ts';

let hub: ScriptedHub;
let clock: FakeClock;
let device: DeviceClient;
/** The calls of the state callback, as `state code`. */
let states: string[];

function client(options: Partial<DeviceClientOptions> = {}, credential?: string): DeviceClient {
  device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1', credential), {
    onStream: (offer) => offer.reject(),
    onStateChange: (state, error) => states.push(error === undefined ? state : `${state} ${error.code}`),
    outbound: { ca: hub.ca },
    clock,
    random: () => 0.5,
    ...options,
  });
  return device;
}

/** Accepts the client's connection and waits until the client is attached. */
async function welcome() {
  const channel = await hub.channel();
  await channel.welcome();
  await expect.poll(() => device.state).toBe('attached');
  return channel;
}

/** Checks that the client backs off and retries after exactly `ms` milliseconds. */
async function backOff(ms: number): Promise<void> {
  await expect.poll(() => device.state).toBe('waiting');
  const before = states.length;
  await clock.advance(ms - 1);
  expect(states).toHaveLength(before);
  await clock.advance(1);
  expect(states[before]).toBe('connecting');
}

beforeEach(async () => {
  hub = await ScriptedHub.start();
  clock = new FakeClock();
  states = [];
});

afterEach(async () => {
  await device.close();
  await expect.poll(() => clock.timers).toBe(0);
  await hub.stop();
});

describe('open()', () => {
  it('resolves when attached', async () => {
    const opened = client().open();
    expect(device.state).toBe('connecting');
    const channel = await hub.channel();
    const connect = await channel.welcome();
    await opened;
    expect(device.state).toBe('attached');
    expect(connect).toMatchObject({ protocolVersion: 5, clientId: 'd1', keepalive: 25, clean: true });
    expect(String(connect.password)).toMatch(
      /^SharedAccessSignature sr=127\.0\.0\.1%3A\d+%2Fdevices%2Fd1&sig=[^&]+&se=\d+$/,
    );
    expect(states).toEqual(['connecting', 'attached']);
  });

  it('signs with a policy where the connection string names one', async () => {
    const opened = client({}, `SharedAccessKeyName=device;SharedAccessKey=${'A'.repeat(44)}`).open();
    const { password } = await (await hub.channel()).welcome();
    await opened;
    expect(String(password)).toMatch(/&skn=device$/);
  });

  it('sends a token of the connection string as it is', async () => {
    const token = 'SharedAccessSignature sr=h%2fdevices%2fd1&sig=c2ln&se=1';
    const opened = client({}, `SharedAccessSignature=${token}`).open();
    const { password } = await (await hub.channel()).welcome();
    await opened;
    expect(String(password)).toBe(token);
  });

  it('rejects when the hub refuses the device for good', async () => {
    const opened = client().open();
    await (await hub.channel()).refuse(0x87, 'The credential was not accepted.');
    await expect(opened).rejects.toMatchObject({ code: 'unauthorized', message: 'The credential was not accepted.' });
    expect(device.state).toBe('closed');
    expect(states).toEqual(['connecting', 'closed unauthorized']);
  });

  it('rejects when the hub is not trusted', async () => {
    await expect(client({ outbound: {} }).open()).rejects.toMatchObject({ code: 'untrusted' });
    expect(device.state).toBe('closed');
  });

  it('rejects when the proxy or the CA cannot be used', async () => {
    const opened = client({ outbound: { ca: hub.ca, proxy: 'gopher://127.0.0.1:70' } }).open();
    await expect(opened).rejects.toMatchObject({ code: 'config_invalid' });
  });

  it('waits instead where it is told to, whatever the hub says', async () => {
    const opened = client({ onFirstRefusal: 'retry' }).open();
    // MQTT 5 §2.4: not authorised, banned, administrative action, client identifier not valid, unsupported protocol version.
    for (const code of [0x87, 0x8a, 0x98, 0x85, 0x84]) {
      await (await hub.channel()).refuse(code, 'no');
      await backOff(22_500);
    }
    await welcome();
    await opened;
    expect(states.filter((state) => state.startsWith('closed'))).toEqual([]);
  });

  it('waits for a hub to be trusted where it is told to, but not for a proxy that cannot be used', async () => {
    const waiting = expect(client({ onFirstRefusal: 'retry', outbound: {} }).open()).rejects.toMatchObject({
      code: 'aborted',
    });
    await expect.poll(() => states).toContain('waiting untrusted');
    await device.close();
    await waiting;
    const opened = client({ onFirstRefusal: 'retry', outbound: { ca: hub.ca, proxy: 'gopher://127.0.0.1:70' } }).open();
    await expect(opened).rejects.toMatchObject({ code: 'config_invalid' });
  });

  it('tells when the next attempt is', async () => {
    const waits: (number | undefined)[] = [];
    const opened = client({ onStateChange: (_state, _error, retryInMs) => waits.push(retryInMs) }).open();
    await (await hub.channel()).refuse(0x88, 'busy');
    await expect.poll(() => waits).toEqual([undefined, 250]);
    await clock.advance(250);
    await welcome();
    await opened;
  });

  it('may be tried again after that', async () => {
    const refused = client().open();
    await (await hub.channel()).refuse(0x87, 'no');
    await expect(refused).rejects.toThrow('no');
    const opened = device.open();
    await welcome();
    await opened;
  });

  it('goes on when the refusal may pass, and when there is no answer', async () => {
    const opened = client().open();
    await (await hub.channel()).refuse(0x88, 'busy');
    await backOff(250);
    const silent = await hub.channel();
    await silent.take('connect');
    await clock.advance(10_000);
    await backOff(500);
    await welcome();
    await opened;
    expect(states).toEqual([
      'connecting',
      'waiting unreachable',
      'connecting',
      'waiting unreachable',
      'connecting',
      'attached',
    ]);
  });

  it('goes on when nothing listens', async () => {
    const opened = client().open();
    await hub.stop();
    for (const ms of [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) await backOff(ms);
    const aborted = expect(opened).rejects.toMatchObject({ code: 'aborted' });
    await device.close();
    await aborted;
    hub = await ScriptedHub.start();
  });
});

describe('an attached device', () => {
  it('comes back when it was cut off', async () => {
    void client().open();
    const channel = await welcome();
    channel.socket.terminate();
    await backOff(250);
    await welcome();
    expect(states).toEqual(['connecting', 'attached', 'waiting stream_lost', 'connecting', 'attached']);
  });

  it('waits longer each time, and short again after it was attached a while', async () => {
    void client().open();
    for (const expected of [250, 500, 1_000]) {
      (await welcome()).socket.terminate();
      await backOff(expected);
    }
    const channel = await welcome();
    await clock.advance(24_999);
    await clock.advance(1);
    await channel.take('pingreq');
    channel.send({ cmd: 'pingresp' });
    await clock.advance(5_000);
    channel.socket.terminate();
    await backOff(250);
    await welcome();
  });

  it('tries slowly when it is refused for good, since that may be mended', async () => {
    void client().open();
    (await welcome()).disconnect(0x98, 'The device was disabled.');
    await backOff(250);
    for (let attempt = 0; attempt < 2; attempt++) {
      await (await hub.channel()).refuse(0x87, 'no');
      await backOff(22_500);
    }
    await welcome();
    expect(states.slice(2)).toEqual([
      'waiting revoked',
      'connecting',
      'waiting unauthorized',
      'connecting',
      'waiting unauthorized',
      'connecting',
      'attached',
    ]);
  });

  it('does not fight with another of the same id', async () => {
    void client().open();
    const rival = async (ms: number) => {
      (await welcome()).disconnect(0x8e, 'A newer connection of the same device took over.');
      await backOff(ms);
    };
    // Each wait is longer than the one before, up to five minutes; half of it is random.
    for (const ms of [22_500, 45_000, 90_000, 180_000, 225_000, 225_000]) await rival(ms);
    expect(states[2]).toBe('waiting taken_over');
    await welcome();
  });

  it('forgets a rival that has been away', async () => {
    const takeOvers = new TakeOvers(() => 0.5);
    expect([takeOvers.next(0), takeOvers.next(60_000), takeOvers.next(960_001)]).toEqual([22_500, 45_000, 22_500]);
    void client().open();
    await welcome();
  });

  it('gives up a hub that answers no ping', async () => {
    void client({ keepaliveSeconds: 10 }).open();
    const channel = await welcome();
    await clock.advance(10_000);
    await channel.take('pingreq');
    channel.send({ cmd: 'pingresp' });
    // When the device has answered this offer, it has also received the ping answer that was sent before it.
    channel.publish(formatOfferTopic({ streamName: 'echo', requestId: '1', url: 'wss://h:1/x', token: 'grant' }));
    await channel.take('publish');
    await clock.advance(10_000);
    await channel.take('pingreq');
    await clock.advance(9_999);
    expect(device.state).toBe('attached');
    await clock.advance(1);
    await expect.poll(() => device.state).toBe('waiting');
    expect(states[2]).toBe('waiting keepalive_timeout');
    await backOff(250);
    await welcome();
  });

  it('gives up a hub that breaks the protocol', async () => {
    void client().open();
    const channel = await welcome();
    channel.socket.send(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]));
    await backOff(250);
    expect(states[2]).toBe('waiting protocol_error');
    await welcome();
  });
});
