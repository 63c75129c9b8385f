import { STREAM_PROPERTIES } from '@culvert/protocol';
import rhea from 'rhea';
import { describe, expect, it } from 'vitest';
import { NEVER, OFFER, openListener } from './amqp-listener.fixture.ts';

const D1 = { deviceId: 'd1' };

async function openAs(deviceId = 'd1', options: Parameters<typeof openListener>[0] = {}) {
  const listener = await openListener(options);
  await listener.device.putToken({ deviceId });
  const channel = listener.channels[0];
  if (channel === undefined) throw new Error('no channel was attached');
  return { ...listener, channel };
}

describe('the streams links', () => {
  it('carry an offer as Azure writes it, with Culvert extensions', async () => {
    const { device, channel } = await openAs();
    await device.attachStreams(D1);
    const answer = channel.offer(OFFER, NEVER);
    const { message, correlationId } = await device.nextOffer();
    expect(correlationId).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    expect(message.application_properties).toEqual({
      'IoThub-streaming-name': 'ssh',
      'IoThub-streaming-url': OFFER.grant.url,
      'IoThub-streaming-auth-token': OFFER.grant.token,
      'culvert-stream-id': OFFER.streamId,
      'culvert-caller': 'policy:service',
    });
    device.answer({ correlationId, accepted: true });
    expect(await answer).toEqual({ accepted: true });
  });

  it('take the correlation id as a string too, and the one-byte form of a boolean', async () => {
    const { device, channel } = await openAs();
    const address = '/devices/d1/streams';
    const receiver = await device.receive(address);
    const sender = await device.send(address);
    const answer = channel.offer(OFFER, NEVER);
    const { correlation_id: id } = await device.next(receiver);
    const text = rhea.uuid_to_string(id as Buffer).toUpperCase();
    sender.send({
      correlation_id: text,
      application_properties: { [STREAM_PROPERTIES.isAccepted]: Reflect.get(rhea.types, 'Boolean')(1) },
      body: '',
    });
    expect(await answer).toEqual({ accepted: true });
  });

  it.each([
    ['no answer at all', { body: 'hello' }],
    [
      'an answer that is neither yes nor no',
      { correlation_id: 'a'.repeat(36), application_properties: { [STREAM_PROPERTIES.isAccepted]: 'true' }, body: '' },
    ],
    [
      'an answer to nothing that could be',
      { correlation_id: 7, application_properties: { [STREAM_PROPERTIES.isAccepted]: true }, body: '' },
    ],
  ])('reject %s', async (_name, message) => {
    const { device } = await openAs();
    await device.receive('/devices/d1/streams');
    const sender = await device.send('/devices/d1/streams');
    sender.send(message);
    const { delivery } = await device.event('rejected');
    expect(delivery?.remote_state?.['error']).toMatchObject({ condition: 'amqp:invalid-field' });
  });

  it.each([
    ['both with one id', 'streams:a', 'streams:a', true],
    ['one without an id', 'streams:a', undefined, true],
    ['none with an id', undefined, undefined, true],
    ['with different ids', 'streams:a', 'streams:b', false],
  ])('make a pair: %s', async (_name, one, other, paired) => {
    const { device, channel } = await openAs();
    const named = (id?: string) =>
      id === undefined ? {} : { properties: { 'com.microsoft:channel-correlation-id': id } };
    await device.receive('/devices/d1/streams', named(one));
    expect(channel.takesOffers).toBe(false);
    await device.send('/devices/d1/streams', named(other));
    expect(channel.takesOffers).toBe(paired);
  });

  it('say what software the device is, of which the beginning is kept', async () => {
    const { device, channel } = await openAs();
    expect(channel.clientVersion).toBeUndefined();
    const says = (version: unknown) => ({ properties: { 'com.microsoft:client-version': version } });
    await device.receive('/devices/d1/streams', says('azure-iot-device/1.18.4\n'));
    expect(channel.clientVersion).toBe('azure-iot-device/1.18.4\\u000a');
    await device.send('/devices/d1/streams', says(7));
    expect(channel.clientVersion).toBe('azure-iot-device/1.18.4\\u000a');
    await device.receive('/devices/d1/streams', says('v'.repeat(1_000)));
    expect(channel.clientVersion?.length).toBeLessThanOrEqual(129);
  });

  it('wait for credit, in order, and forget what was withdrawn meanwhile', async () => {
    const { device, channel, clock } = await openAs('d1', { maxOffers: 3 });
    const receiver = await device.receive('/devices/d1/streams', { credit_window: 0 });
    await device.send('/devices/d1/streams');
    const patience = new AbortController();
    const offers = ['a', 'b', 'c'].map((streamName, index) =>
      channel.offer({ ...OFFER, streamName }, index === 1 ? patience.signal : NEVER).catch(() => 'withdrawn'),
    );
    await expect(channel.offer(OFFER, NEVER)).rejects.toMatchObject({ code: 'too_many_requests' });
    await clock.advance(0);
    patience.abort();
    expect(await offers[1]).toBe('withdrawn');
    receiver.add_credit(2);
    const names = [await device.next(receiver), await device.next(receiver)].map(
      (message) => message.application_properties?.[STREAM_PROPERTIES.name],
    );
    expect(names).toEqual(['a', 'c']);
  });

  it('fail what was asked when one of them is detached', async () => {
    const { device, channel } = await openAs();
    await device.attachStreams(D1);
    const answer = expect(channel.offer(OFFER, NEVER)).rejects.toMatchObject({ code: 'device_gone' });
    await device.nextOffer();
    await device.detachStreams();
    await answer;
    expect(channel.takesOffers).toBe(false);
  });

  it('fail what was asked when their session ends', async () => {
    const { device, channel } = await openAs();
    await device.attachStreams(D1);
    const answer = expect(channel.offer(OFFER, NEVER)).rejects.toMatchObject({ code: 'device_gone' });
    await device.nextOffer();
    device.engine['local_channel_map'][0].close();
    await answer;
    expect(channel.takesOffers).toBe(false);
  });

  it('are the newest pair, when a device attaches again before it detaches', async () => {
    const { device, channel } = await openAs();
    await device.attachStreams(D1);
    await device.attachStreams(D1);
    const answer = channel.offer(OFFER, NEVER);
    device.answer({ correlationId: (await device.nextOffer()).correlationId, accepted: true });
    expect(await answer).toEqual({ accepted: true });
  });

  it('count a request that the device does not take as rejected, at once', async () => {
    const { device, channel } = await openAs();
    const receiver = await device.receive('/devices/d1/streams', { autoaccept: false });
    await device.send('/devices/d1/streams');
    const first = channel.offer(OFFER, NEVER);
    receiver.once('message', ({ delivery }) =>
      delivery?.reject({ condition: 'amqp:decode-error', description: 'eh?' }),
    );
    expect(await first).toEqual({ accepted: false, reason: 'eh?' });
    const second = channel.offer(OFFER, NEVER);
    receiver.once('message', ({ delivery }) => delivery?.release());
    expect(await second).toEqual({ accepted: false, reason: 'The device did not take the request.' });
  });

  it('hold offers that a device settles second, and lose none of them', async () => {
    const { device, channel } = await openAs();
    const receiver = await device.receive('/devices/d1/streams', { rcv_settle_mode: 1 });
    const sender = await device.send('/devices/d1/streams');
    for (let count = 0; count < 3; count++) {
      const answer = channel.offer(OFFER, NEVER);
      const { correlation_id: id } = await device.next(receiver);
      sender.send({
        correlation_id: id ?? '',
        application_properties: { [STREAM_PROPERTIES.isAccepted]: true },
        body: '',
      });
      expect(await answer).toEqual({ accepted: true });
    }
  });

  it('carry no request larger than the device takes', async () => {
    const { device, channel } = await openAs();
    await device.receive('/devices/d1/streams', { max_message_size: 128 });
    await device.send('/devices/d1/streams');
    await expect(channel.offer(OFFER, NEVER)).rejects.toMatchObject({ code: 'too_large' });
  });

  it('cut a request into frames that the device takes', async () => {
    const { device, channel } = await openAs('d1', { open: { max_frame_size: 512 } });
    await device.attachStreams(D1);
    const token = 't'.repeat(999);
    const answer = channel.offer({ ...OFFER, grant: { ...OFFER.grant, token } }, NEVER);
    const { message, correlationId } = await device.nextOffer();
    expect(message.application_properties?.[STREAM_PROPERTIES.token]).toBe(token);
    device.answer({ correlationId, accepted: false, reason: 'no' });
    expect(await answer).toEqual({ accepted: false, reason: 'no' });
  });
});

describe('the links that clients attach besides', () => {
  it.each(['/messages/events', '/methods/devicebound'])(
    'are attached, and what is sent on %s is refused',
    async (node) => {
      const { device, channel } = await openAs();
      const sender = await device.send(`amqps://hub.example/devices/d1${node}`);
      sender.send({ body: 'hello' });
      const { delivery } = await device.event('rejected');
      expect(delivery?.remote_state?.['error']).toMatchObject({
        condition: 'amqp:not-implemented',
        description: expect.stringContaining('streams only'),
      });
      await device.receive(`/devices/d1${node}`);
      await device.receive('/devices/d1/messages/devicebound');
      expect(channel.takesOffers).toBe(false);
      expect(device.detached).toEqual([]);
    },
  );

  it('refuse telemetry in several frames, and in a format of its own', async () => {
    const { device } = await openAs();
    const sender = await device.send('/devices/d1/messages/events');
    sender.send({ body: 'x'.repeat(200_000) });
    await device.event('rejected');
    sender.send(Buffer.from('no message'), undefined, 0x80013700);
    await device.event('rejected');
  });

  it('answer a request for the twin that there is none', async () => {
    const { device } = await openAs();
    const receiver = await device.receive('/devices/d1/twin', { snd_settle_mode: 1 });
    const sender = await device.send('/devices/d1/twin', { snd_settle_mode: 1 });
    sender.send({ correlation_id: 'Get1', message_annotations: { operation: 'GET' }, body: '' });
    const answer = await device.next(receiver);
    expect(answer).toMatchObject({ correlation_id: 'Get1', message_annotations: { status: 501 } });
    expect(JSON.parse(answer.body.content)).toContain('streams only');
  });

  it('answer a request for the twin that came before there was credit for an answer', async () => {
    const { device } = await openAs();
    const receiver = await device.receive('/devices/d1/twin', { snd_settle_mode: 1, credit_window: 0 });
    const sender = await device.send('/devices/d1/twin', { snd_settle_mode: 1 });
    for (let count = 0; count < 65; count++) sender.send({ correlation_id: `Get${count}`, body: '' });
    // The 65th request exceeds the limit on waiting answers.
    await device.event('sender_close');
    receiver.add_credit(100);
    for (let count = 0; count < 64; count++) {
      expect(await device.next(receiver)).toMatchObject({ correlation_id: `Get${count}` });
    }
  });

  it('reject a request for the twin that cannot be answered', async () => {
    const { device } = await openAs();
    const sender = await device.send('/devices/d1/twin');
    sender.send({ correlation_id: 'Get1', body: '' });
    const { delivery } = await device.event('rejected');
    expect(delivery?.remote_state?.['error']).toMatchObject({ condition: 'amqp:not-implemented' });
  });

  it('are lost by a request for the twin that can be neither answered nor rejected', async () => {
    const { device, channel } = await openAs();
    const sender = await device.send('/devices/d1/twin', { snd_settle_mode: 1 });
    sender.send({ correlation_id: 'Get1', body: '' });
    await device.event('sender_close');
    expect(device.detached).toEqual([{ address: '/devices/d1/twin', condition: 'amqp:not-implemented' }]);
    await device.attachStreams(D1);
    expect(channel.takesOffers).toBe(true);
  });

  it.each([
    '/devices/d1/files',
    '/devices/d1',
    '/devices//streams',
    '/messages/servicebound/filenotifications',
    '/devices/d1/streams/x',
    '/devices/d1/__proto__',
  ])('lead nowhere: %j', async (address) => {
    const { device } = await openAs();
    await expect(device.send(address)).rejects.toThrow('amqp:not-found');
    await expect(device.receive(address)).rejects.toThrow('amqp:not-found');
  });

  it('are not there for who has not said who it is, nor for others', async () => {
    const { device, clock } = await openListener();
    await expect(device.send('/devices/d1/messages/events')).rejects.toThrow('amqp:unauthorized-access');
    await expect(device.receive('/devices/d1/streams')).rejects.toThrow('amqp:unauthorized-access');
    await device.putToken({ deviceId: 'd1' });
    await expect(device.send('/devices/d2/streams')).rejects.toThrow('amqp:unauthorized-access');
    await expect(device.send('/devices/d1/modules/m1/streams')).rejects.toThrow('amqp:unauthorized-access');
    await clock.advance(0);
    await device.attachStreams(D1);
  });
});
