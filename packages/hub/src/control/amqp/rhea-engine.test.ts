import { LIMITS } from '@culvert/protocol';
import { amqpFrame, amqpFrames, amqpHeader, amqpValue, devicePrincipal, duplexPair, FakeClock } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HubEvent } from '../../observe/events.ts';
import { PERFORMATIVES, type Performative, readPerformative } from '../amqp-validator/performative.ts';
import type { ControlChannel } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';
import { acceptAmqp } from './accept-amqp.ts';
import { NEVER, OFFER } from './amqp-listener.fixture.ts';

const { attach, begin, close, detach, end, flow, message, open, putToken, transfer } = amqpFrames;

/** A device that is authenticated without a SASL layer, and whose frames the test writes itself. */
async function letIn() {
  const clock = new FakeClock();
  const events: HubEvent[] = [];
  const channels: ControlChannel[] = [];
  const [hubEnd, deviceEnd] = duplexPair();
  const chunks: Buffer[] = [];
  deviceEnd.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {});
  const accepted = acceptAmqp(
    hubEnd,
    { remoteAddress: '192.0.2.1', protocol: 'amqp' },
    {
      authenticate: async ({ identity }) => devicePrincipal(identity),
      services: NO_SERVICES,
      registrar: { attach: (channel) => channels.push(channel), offersChanged: () => {} },
      clock,
      onEvent: (event) => events.push(event),
      limits: { authenticateMs: 10_000, maxPacketBytes: LIMITS.mqttPacketBytes, maxOffers: 64, maxQueuedBytes: 65_536 },
    },
  );
  /** Sends frames in one write, and returns the performatives that the hub sends in reply. */
  const say = async (...frames: Buffer[]): Promise<Performative[]> => {
    chunks.splice(0);
    deviceEnd.write(Buffer.concat(frames));
    for (let round = 0; round < 5; round++) await clock.advance(0);
    return performatives(Buffer.concat(chunks));
  };
  await say(amqpHeader(0), open(), begin(), attach(0, 'sends', '$cbs'), transfer(0, 0, putToken('h/devices/d1')));
  expect(await accepted).toBe(true);
  return { say, channel: channels[0] as ControlChannel, events, deviceEnd, clock };
}

function performatives(said: Buffer): Performative[] {
  const found: Performative[] = [];
  for (let at = 0; at < said.length; ) {
    if (said.toString('latin1', at, at + 4) === 'AMQP') {
      at += 8;
      continue;
    }
    const length = said.readUInt32BE(at);
    const performative = readPerformative(said.subarray(at, at + length), 0);
    if (performative !== undefined) found.push(performative);
    at += length;
  }
  return found;
}

const codes = (said: Performative[]) => said.map(({ code }) => code);
const { attach: ATTACH, close: CLOSE, detach: DETACH, disposition, flow: FLOW } = PERFORMATIVES;

describe('the AMQP engine', () => {
  beforeEach(() => {
    for (const name of ['error', 'warn', 'log', 'trace'] as const) vi.spyOn(console, name);
  });

  afterEach(() => {
    // Output to the console would quote data of an unauthenticated client.
    for (const name of ['error', 'warn', 'log', 'trace'] as const) expect(console[name]).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  it('tells a link that is attached again from the one of its name that was just detached', async () => {
    const { say } = await letIn();
    const link = attach(1, 'receives', '/devices/d1/messages/devicebound', { name: 'x' });
    expect(codes(await say(link, detach(1), link, detach(1), link))).toEqual([ATTACH, DETACH, ATTACH, DETACH, ATTACH]);
  });

  it('tells a session that begins again from the one on its channel that has just ended', async () => {
    const { say } = await letIn();
    const link = attach(0, 'receives', '/devices/d1/messages/devicebound', { channel: 3 });
    const said = await say(begin(3), link, end(3), begin(3), link);
    const { begin: BEGIN, end: END } = PERFORMATIVES;
    expect(codes(said)).toEqual([BEGIN, ATTACH, END, BEGIN, ATTACH]);
  });

  it('goes on when delivery ids begin again after 32 bits', async () => {
    const { say } = await letIn();
    await say(begin(1), attach(1, 'sends', '/devices/d1/messages/events', { channel: 1 }));
    for (const id of [0xffff_fffe, 0xffff_ffff, 0, 1]) {
      const [first] = await say(transfer(1, id, message('x'), { channel: 1 }));
      expect([first?.code, first?.fields.uint(1)]).toEqual([disposition, id]);
    }
  });

  it('gives credit from where the peer counts', async () => {
    const { say } = await letIn();
    const { described, false: no, list, null: none, string, uint } = amqpValue;
    const target = described(0x29, list(string('/devices/d1/messages/events')));
    const fields = [string('x'), uint(1), no, none, none, described(0x28, list()), target, none, none, uint(1_000)];
    const said = await say(amqpFrame(0x12, fields));
    const credit = said.find(({ code }) => code === FLOW);
    expect([credit?.fields.uint(5), credit?.fields.uint(6)]).toEqual([1_000, 100]);
  });

  it('gives credit from where the peer counts, beyond 32 bits too', async () => {
    const { say } = await letIn();
    const { described, false: no, list, null: none, string, uint } = amqpValue;
    const target = described(0x29, list(string('/devices/d1/messages/events')));
    const fields = [
      string('x'),
      uint(1),
      no,
      none,
      none,
      described(0x28, list()),
      target,
      none,
      none,
      uint(0xffff_fff0),
    ];
    await say(amqpFrame(0x12, fields));
    const counts: (number | undefined)[] = [];
    for (let id = 1; id <= 60; id++) {
      const said = await say(transfer(1, id, message('x')));
      for (const { code, fields: flow } of said)
        if (code === FLOW && flow.uint(4) !== undefined) counts.push(flow.uint(5));
    }
    expect(counts).toEqual([9, 34]);
  });

  it('has no trouble with names and keys that objects have by themselves', async () => {
    const { say, channel } = await letIn();
    const { described, map, string } = amqpValue;
    const properties = described(
      0x74,
      map(string('__proto__'), map(string('a'), string('b')), string('toString'), string('c')),
    );
    await say(attach(1, 'sends', '/devices/d1/messages/events'), transfer(1, 1, properties));
    expect(Object.hasOwn(Object.prototype, 'a')).toBe(false);
    await say(attach(2, 'sends', '/devices/d1/messages/events', { name: 'constructor' }));
    expect(await channel.closed).toMatchObject({ code: 'protocol_error' });
  });

  it('does not wait for what a peer disposes of before it was sent', async () => {
    const { say, channel } = await letIn();
    await say(attach(1, 'receives', '/devices/d1/streams'), attach(2, 'sends', '/devices/d1/streams'));
    const answer = channel.offer(OFFER, NEVER).catch((error) => error.code);
    expect(codes(await say(amqpFrames.disposition('receiver', 0, 0)))).toEqual([CLOSE]);
    expect(await answer).toBe('device_gone');
  });

  it('answers a close that comes with an error, and what follows it with nothing', async () => {
    const { say, channel } = await letIn();
    const { described, list, string, symbol } = amqpValue;
    const error = described(0x1d, list(symbol('amqp:internal-error'), string('oh no')));
    expect(codes(await say(amqpFrame(0x18, [error]), begin(7), close()))).toEqual([CLOSE]);
    expect(await channel.closed).toMatchObject({ code: 'device_gone' });
  });

  it('says nothing to a link, and hears nothing of it, that it has refused', async () => {
    const { say } = await letIn();
    const refused = attach(1, 'sends', '/devices/d2/messages/events');
    expect(codes(await say(refused))).toEqual([ATTACH, DETACH]);
    const said = await say(transfer(1, 1, message('x')));
    // The outcome is released (0x26), because nothing has processed the message.
    expect([said[0]?.code, said[0]?.fields.describedList(4)]).toEqual([disposition, 0x26]);
    expect(await say(detach(1), flow(0, 1))).toEqual([]);
  });
});
