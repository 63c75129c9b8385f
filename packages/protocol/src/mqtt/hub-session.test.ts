import { describe, expect, it } from 'vitest';
import { CulvertError, type ErrorCode } from '../errors.ts';
import { encodePacket, type IConnectPacket, type MqttPacket, type MqttVersion } from './codec.ts';
import { type HubEffect, HubSession } from './hub-session.ts';

const NOW = Date.UTC(2026, 0, 1);

const connect = (version: MqttVersion, fields: Partial<IConnectPacket> = {}): IConnectPacket => ({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: version,
  clientId: 'd1',
  clean: true,
  keepalive: 60,
  username: 'hub.example/d1/?api-version=2020-09-30',
  password: Buffer.from('token'),
  ...fields,
});

const newSession = () => new HubSession({ now: NOW, authenticateMs: 10_000, maxPacketBytes: 262_144, maxOffers: 3 });

const OFFER = {
  streamName: 'ssh',
  grant: { url: 'wss://h:443/x', token: 'tok' },
  streamId: 'abc',
  caller: 'policy:service',
};

/** A session whose device is authenticated and, unless `qos` is `none`, subscribed to offers with `qos`. */
function openSession(version: MqttVersion, qos: 0 | 1 | 'none' = 0, fields: Partial<IConnectPacket> = {}): HubSession {
  const session = newSession();
  session.receive(connect(version, fields), NOW);
  session.accept(NOW, Number.POSITIVE_INFINITY);
  session.release(NOW);
  if (qos !== 'none') session.receive(subscribe('$iothub/streams/POST/#', qos), NOW);
  return session;
}

function subscribe(topic: string, qos: 0 | 1 | 2 = 0): MqttPacket {
  return { cmd: 'subscribe', messageId: 2, subscriptions: [{ topic, qos }] };
}

function publish(topic: string, fields: Partial<MqttPacket & { cmd: 'publish' }> = {}): MqttPacket {
  return { cmd: 'publish', topic, payload: Buffer.alloc(0), qos: 0, dup: false, retain: false, ...fields };
}

const sent = (effects: readonly HubEffect[]): MqttPacket[] =>
  effects.flatMap((effect) => (effect.kind === 'send' ? [effect.packet] : []));

const endOf = (effects: readonly HubEffect[]): ErrorCode | undefined => {
  const last = effects.at(-1);
  return last?.kind === 'end' ? last.error.code : undefined;
};

describe('CONNECT', () => {
  it.each([
    [
      'hub.example/d1/?api-version=2020-09-30&DeviceClientType=iothubclient%2f1.9.0%20(native%3b%20Linux%3b%20x86_64)',
      'iothubclient/1.9.0 (native; Linux; x86_64)',
    ],
    ['hub.example/d1/DeviceClientType=py-azure&api-version=2016-11-14', 'py-azure'],
    ['hub.example/d1/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1', undefined],
    ['hub.example/d1/?DeviceClientType=a/b', 'a/b'],
    ['hub.example/d1/?DeviceClientType=%1b[2Ja', '\\u001b[2Ja'],
    ['hub.example/d1/?DeviceClientType=%zz', undefined],
    ['hub.example/d1/?DeviceClientType=&api-version=2020-09-30', undefined],
    ['hub.example/d1/', undefined],
    ['hub.example/d1', undefined],
  ])('is read with the username %s', (username, clientVersion) => {
    const credentials = { host: 'hub.example', identity: { deviceId: 'd1' }, password: 'token', clientVersion };
    expect(newSession().receive(connect(4, { username }), NOW)).toEqual([{ kind: 'authenticate', credentials }]);
  });

  it('is read with a version of any length, of which the beginning is kept', () => {
    const username = `hub.example/d1/?DeviceClientType=${'v'.repeat(1_000)}`;
    const [effect] = newSession().receive(connect(4, { username }), NOW);
    if (effect?.kind !== 'authenticate') throw new Error('not asked to authenticate');
    expect(effect.credentials.clientVersion?.length).toBeLessThanOrEqual(129);
  });

  it.each([
    ['hub.example/d1/m/?api-version=2020-09-30', 'm'],
    ['hub.example/d1/m/api-version=2016-11-14', 'm'],
    ['hub.example/d1/m', 'm'],
    ['hub.example/d1/$edgeAgent/?api-version=2020-09-30', '$edgeAgent'],
    // Module ids that look like the parameters in a device's username.
    ['hub.example/d1/a=b/?api-version=2020-09-30', 'a=b'],
    ['hub.example/d1/?m/?api-version=2020-09-30', '?m'],
  ])("is read with a module's username %s", (username, moduleId) => {
    expect(newSession().receive(connect(4, { username, clientId: `d1/${moduleId}` }), NOW)).toEqual([
      {
        kind: 'authenticate',
        credentials: { host: 'hub.example', identity: { deviceId: 'd1', moduleId }, password: 'token' },
      },
    ]);
  });

  it('is read without a password, for which a certificate may stand', () => {
    const { password: _, ...without } = connect(4);
    for (const packet of [without, connect(4, { password: Buffer.alloc(0) })]) {
      const [effect] = newSession().receive(packet, NOW);
      expect(effect).toMatchObject({ kind: 'authenticate', credentials: { password: undefined } });
    }
  });

  it.each<[string, Partial<IConnectPacket>, number, number]>([
    ['no username', { username: '' }, 5, 0x87],
    ['another client id', { clientId: 'd2' }, 2, 0x82],
    ['an empty client id', { clientId: '' }, 2, 0x82],
    ['a module of the username only', { username: 'hub.example/d1/m/?api-version=x' }, 2, 0x82],
    ['another module', { clientId: 'd1/n', username: 'hub.example/d1/m/?api-version=x' }, 2, 0x82],
    ['a module id that is none', { clientId: 'd1/m m', username: 'hub.example/d1/m m/' }, 2, 0x82],
    ['a module client id only', { clientId: 'd1/m' }, 2, 0x82],
    ['a device id that is none', { clientId: 'd 1', username: 'hub.example/d 1/' }, 2, 0x82],
    ['no hub', { username: '/d1/?api-version=x' }, 2, 0x82],
    ['an endless password', { password: Buffer.alloc(5_000, 'a') }, 5, 0x87],
  ])('is refused with %s', (_name, fields, returnCode, reasonCode) => {
    const four = newSession().receive(connect(4, fields), NOW);
    expect(sent(four)).toMatchObject([{ cmd: 'connack', returnCode }]);
    const five = newSession().receive(connect(5, fields), NOW);
    expect(sent(five)).toMatchObject([
      { cmd: 'connack', reasonCode, properties: { reasonString: expect.any(String) } },
    ]);
    expect(four.at(-1)?.kind).toBe('end');
    expect(five.at(-1)?.kind).toBe('end');
  });

  it('of MQTT 5 is refused with enhanced authentication or a will of QoS 2', () => {
    const enhanced = newSession().receive(connect(5, { properties: { authenticationMethod: 'SCRAM' } }), NOW);
    expect(sent(enhanced)).toMatchObject([{ reasonCode: 0x87 }]);
    const will = { topic: 'w', payload: '', qos: 2 as const };
    expect(sent(newSession().receive(connect(5, { will }), NOW))).toMatchObject([{ reasonCode: 0x9b }]);
    expect(endOf(newSession().receive(connect(4, { will }), NOW))).toBeUndefined();
  });

  it('is answered with a fresh session, whatever the device hoped for', () => {
    const session = newSession();
    session.receive(connect(4, { clean: false }), NOW);
    expect(sent(session.accept(NOW, Infinity))).toMatchObject([
      { cmd: 'connack', returnCode: 0, sessionPresent: false },
    ]);
  });

  it('of MQTT 5 is told what there is', () => {
    const session = newSession();
    session.receive(connect(5, { keepalive: 0, properties: { sessionExpiryInterval: 3_600 } }), NOW);
    expect(sent(session.accept(NOW, Infinity))).toMatchObject([
      {
        reasonCode: 0,
        properties: {
          sessionExpiryInterval: 0,
          maximumQoS: 1,
          retainAvailable: false,
          maximumPacketSize: 262_144,
          topicAliasMaximum: 0,
          sharedSubscriptionAvailable: false,
          subscriptionIdentifiersAvailable: false,
          serverKeepAlive: 1_177,
        },
      },
    ]);
  });

  it.each([
    [4, 'unauthorized', 5, undefined],
    [5, 'unauthorized', undefined, 0x87],
    [5, 'draining', undefined, 0x88],
    [4, 'draining', 3, undefined],
    [5, 'device_disabled', undefined, 0x87],
  ] as const)('of version %i that is not let in for %s learns why', (version, code, returnCode, reasonCode) => {
    const session = newSession();
    session.receive(connect(version), NOW);
    const effects = session.end(new CulvertError(code));
    expect(sent(effects)).toMatchObject([version === 4 ? { returnCode } : { reasonCode }]);
    expect(endOf(effects)).toBe(code);
    expect(session.end(new CulvertError('draining'))).toEqual([]);
  });

  it('of an unknown level is told so in the nearest protocol level', () => {
    const error = new CulvertError('protocol_unsupported');
    for (const [level, code] of [
      [3, 0x01],
      [6, 0x84],
    ] as const) {
      const session = newSession();
      const [packet] = sent(session.endUnsupported(error, level));
      const bytes = encodePacket(packet as MqttPacket, session.version);
      expect([bytes[0], bytes[2], bytes[3]]).toEqual([0x20, 0, code]);
    }
  });
});

describe('order of packets', () => {
  it('anything before CONNECT ends the session without a word', () => {
    expect(newSession().receive({ cmd: 'pingreq' }, NOW)).toMatchObject([
      { kind: 'end', error: { code: 'protocol_error' } },
    ]);
  });

  it('a second CONNECT ends it, before and after CONNACK', () => {
    const waiting = newSession();
    waiting.receive(connect(4), NOW);
    expect(endOf(waiting.receive(connect(4), NOW))).toBe('protocol_error');
    expect(endOf(openSession(4).receive(connect(4), NOW))).toBe('protocol_error');
  });

  it.each<MqttPacket>([
    { cmd: 'connack', sessionPresent: false, returnCode: 0 },
    { cmd: 'suback', messageId: 1, granted: [0] },
    { cmd: 'unsuback', messageId: 1, granted: [] },
    { cmd: 'pingresp' },
    { cmd: 'pubrec', messageId: 1 },
    { cmd: 'pubrel', messageId: 1 },
    { cmd: 'pubcomp', messageId: 1 },
    { cmd: 'auth', reasonCode: 0 },
  ])('$cmd from a device ends it', (packet) => {
    expect(endOf(openSession(4).receive(packet, NOW))).toBe('protocol_error');
    expect(sent(openSession(5).receive(packet, NOW))).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  it('what comes before CONNACK is kept until then, within bounds', () => {
    const session = newSession();
    session.receive(connect(4), NOW);
    expect(session.receive(subscribe('$iothub/streams/POST/#'), NOW)).toEqual([]);
    expect(session.receive({ cmd: 'pingreq' }, NOW)).toEqual([]);
    expect(sent(session.accept(NOW, Infinity)).map((packet) => packet.cmd)).toEqual(['connack']);
    expect(session.release(NOW).map((effect) => (effect.kind === 'send' ? effect.packet.cmd : effect.kind))).toEqual([
      'suback',
      'offers-changed',
      'pingresp',
    ]);

    const flooded = newSession();
    flooded.receive(connect(4), NOW);
    for (let i = 0; i < 64; i++) expect(flooded.receive({ cmd: 'pingreq' }, NOW)).toEqual([]);
    expect(endOf(flooded.receive({ cmd: 'pingreq' }, NOW))).toBe('too_many_requests');
  });

  it('DISCONNECT ends it without an answer', () => {
    expect(openSession(5).receive({ cmd: 'disconnect', reasonCode: 0 }, NOW)).toMatchObject([
      { kind: 'end', error: { code: 'device_gone' } },
    ]);
  });
});

describe('time', () => {
  it('ends a connection that does not authenticate', () => {
    for (const begin of [() => {}, (session: HubSession) => session.receive(connect(4), NOW)]) {
      const session = newSession();
      begin(session);
      expect(session.deadline).toBe(NOW + 10_000);
      expect(session.tick(NOW + 9_999)).toEqual([]);
      expect(endOf(session.tick(NOW + 10_000))).toBe('handshake_timeout');
      expect(session.deadline).toBeUndefined();
    }
  });

  it.each([
    [4, 60, 90_000],
    [4, 0, 1_767_000],
    [4, 1_177, 1_765_500],
    [4, 1_178, 1_767_000],
    [4, 65_535, 1_767_000],
    [5, 60, 90_000],
    [5, 0, 1_767_000],
  ] as const)('MQTT %i with keepalive %i is given up after %i ms of silence', (version, keepalive, ms) => {
    const session = openSession(version, 0, { keepalive });
    session.receive({ cmd: 'pingreq' }, NOW + 1_000);
    expect(session.deadline).toBe(NOW + 1_000 + ms);
    expect(session.tick(NOW + 999 + ms)).toEqual([]);
    const effects = session.tick(NOW + 1_000 + ms);
    expect(endOf(effects)).toBe('keepalive_timeout');
    expect(sent(effects)).toMatchObject(version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x8d }] : []);
  });

  it('ends when the credential expires', () => {
    const session = newSession();
    session.receive(connect(5), NOW);
    session.accept(NOW, NOW + 5_000);
    expect(session.deadline).toBe(NOW + 5_000);
    const effects = session.tick(NOW + 5_000);
    expect(endOf(effects)).toBe('token_expired');
    expect(sent(effects)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
  });
});

describe('offers', () => {
  it('go out with small numbers, over MQTT 5 with stream id and caller', () => {
    const four = openSession(4);
    expect(sent(four.offer(OFFER).effects)).toMatchObject([
      { qos: 0, topic: '$iothub/streams/POST/ssh/?$rid=1&$url=wss%3A%2F%2Fh%3A443%2Fx&$auth=tok' },
    ]);
    expect(four.offer(OFFER).requestId).toBe('2');
    expect(sent(openSession(5).offer(OFFER).effects)).toMatchObject([
      { properties: { userProperties: { 'culvert-stream-id': 'abc', 'culvert-caller': 'policy:service' } } },
    ]);
  });

  it('need a subscription', () => {
    const session = openSession(4, 'none');
    expect(session.takesOffers).toBe(false);
    expect(() => session.offer(OFFER)).toThrow(expect.objectContaining({ code: 'device_gone' }));
    const subscribed = session.receive(subscribe('$iothub/streams/POST/#', 2), NOW);
    expect(subscribed.at(-1)).toEqual({ kind: 'offers-changed' });
    expect(sent(subscribed)).toMatchObject([{ cmd: 'suback', messageId: 2, granted: [1] }]);
    expect(session.receive(subscribe('$iothub/streams/POST/#', 1), NOW).map((effect) => effect.kind)).toEqual(['send']);
    expect(sent(session.offer(OFFER).effects)).toMatchObject([{ qos: 1, messageId: 1 }]);
    const left = session.receive(
      { cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['$iothub/streams/POST/#'] },
      NOW,
    );
    expect(sent(left)).toMatchObject([{ cmd: 'unsuback', messageId: 3 }]);
    expect(left.at(-1)).toEqual({ kind: 'offers-changed' });
  });

  it.each([
    ['200', '', { accepted: true, reason: '' }],
    ['200', 'ignored', { accepted: true, reason: '' }],
    ['400', '', { accepted: false, reason: '' }],
    ['400', 'no ssh here\r\n', { accepted: false, reason: 'no ssh here\\u000d\\u000a' }],
    ['404', 'x', { accepted: false, reason: 'x' }],
  ])('are answered by status %s and payload %j', (status, payload, answer) => {
    const session = openSession(4);
    const { requestId } = session.offer(OFFER);
    const topic = `$iothub/streams/res/${status}/?$rid=${requestId}`;
    expect(session.receive(publish(topic, { payload: Buffer.from(payload) }), NOW)).toEqual([
      { kind: 'answer', requestId, ...answer },
    ]);
    expect(session.receive(publish(topic), NOW)).toEqual([]);
  });

  it('are rejected with at most 512 bytes of whole characters', () => {
    const session = openSession(4);
    const { requestId } = session.offer(OFFER);
    const payload = Buffer.from('ä'.repeat(10_000)).subarray(1);
    const [answer] = session.receive(publish(`$iothub/streams/res/400/?$rid=${requestId}`, { payload }), NOW);
    const reason = answer?.kind === 'answer' ? answer.reason : '';
    expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(512);
    expect(reason).toMatch(/^\ufffdä+$/u);
  });

  it('are bounded, and a withdrawn one makes room and gets no answer', () => {
    const session = openSession(4);
    const first = session.offer(OFFER).requestId;
    session.offer(OFFER);
    session.offer(OFFER);
    expect(() => session.offer(OFFER)).toThrow(expect.objectContaining({ code: 'too_many_requests' }));
    session.withdraw(first);
    expect(session.offer(OFFER).requestId).toBe('4');
    expect(session.receive(publish(`$iothub/streams/res/200/?$rid=${first}`), NOW)).toEqual([]);
  });

  it("of QoS 1 keep to the device's Receive Maximum", () => {
    const session = openSession(5, 1, { properties: { receiveMaximum: 1 } });
    expect(sent(session.offer(OFFER).effects)).toMatchObject([{ messageId: 1 }]);
    const second = session.offer(OFFER);
    const third = session.offer(OFFER);
    expect([second.effects, third.effects]).toEqual([[], []]);
    session.withdraw(second.requestId);
    expect(session.receive({ cmd: 'puback', messageId: 9 }, NOW)).toEqual([]);
    const next = sent(session.receive({ cmd: 'puback', messageId: 1, reasonCode: 0 }, NOW));
    expect(next).toMatchObject([{ cmd: 'publish', messageId: 2, topic: expect.stringContaining('$rid=3&') }]);
    expect(session.receive({ cmd: 'puback', messageId: 2 }, NOW)).toEqual([]);
  });

  it.each(['$iothub/twin/GET/?$rid=7f0c', '$iothub/twin/PATCH/properties/reported/?$rid=7f0c&$version=3'])(
    'to %s are told that there are no twins, by those who listen',
    (topic) => {
      const unsubscribed = openSession(4);
      expect(unsubscribed.receive(publish(topic), NOW)).toEqual([]);
      for (const filter of ['$iothub/twin/res/#', '$iothub/+/res/+/+', '$iothub/#']) {
        const session = openSession(4, 'none');
        session.receive(subscribe(filter), NOW);
        const [answer] = sent(session.receive(publish(topic, { qos: 1, messageId: 3 }), NOW)).slice(1);
        expect(answer).toMatchObject({ cmd: 'publish', qos: 0, topic: '$iothub/twin/res/501/?$rid=7f0c' });
        const { payload } = answer as MqttPacket & { cmd: 'publish' };
        expect(JSON.parse(String(payload))).toMatchObject({ errorCode: 404013, message: expect.any(String) });
      }
    },
  );

  it.each([
    '$iothub/twin/GET/',
    '$iothub/twin/GET/?$rid=',
    `$iothub/twin/GET/?$rid=${'a'.repeat(65)}`,
    '$iothub/twin/DELETE/?$rid=1',
  ])('to %s, which is no request, are not answered', (topic) => {
    const session = openSession(4, 'none');
    for (const filter of ['#', '+/twin/#', '$iothub/twin/res']) session.receive(subscribe(filter), NOW);
    session.receive(subscribe('$iothub/twin/res/#'), NOW);
    expect(session.receive(publish(topic), NOW)).toEqual([]);
  });

  it("lose their properties or are refused where the device's Maximum Packet Size is small", () => {
    const bare = openSession(5, 0, { properties: { maximumPacketSize: 100 } });
    const [packet] = sent(bare.offer(OFFER).effects);
    expect(packet).not.toHaveProperty('properties');
    const tiny = openSession(5, 0, { properties: { maximumPacketSize: 60 } });
    expect(() => tiny.offer(OFFER)).toThrow(expect.objectContaining({ code: 'too_large' }));
    const farewell = sent(tiny.end(new CulvertError('taken_over', 'A long story. '.repeat(20))));
    expect(farewell).toEqual([{ cmd: 'disconnect', reasonCode: 0x8e }]);
  });
});

describe('publications', () => {
  it.each([4, 5] as const)('to other topics are acknowledged and dropped (MQTT %i)', (version) => {
    const session = openSession(version);
    expect(session.receive(publish('devices/d1/messages/events/'), NOW)).toEqual([]);
    const telemetry = publish('devices/d1/messages/events/', { qos: 1, messageId: 5, retain: true, dup: true });
    expect(sent(session.receive(telemetry, NOW))).toEqual([{ cmd: 'puback', messageId: 5, reasonCode: 0x10 }]);
  });

  it('that answer with QoS 1 are acknowledged', () => {
    const session = openSession(5);
    const { requestId } = session.offer(OFFER);
    const topic = `$iothub/streams/res/200/?$rid=${requestId}`;
    expect(session.receive(publish(topic, { qos: 1, messageId: 5 }), NOW)).toMatchObject([
      { kind: 'answer', accepted: true },
      { kind: 'send', packet: { cmd: 'puback', messageId: 5, reasonCode: 0 } },
    ]);
  });

  it.each<[string, MqttPacket, ErrorCode, number]>([
    ['QoS 2', publish('a', { qos: 2, messageId: 1 }), 'qos_unsupported', 0x9b],
    ['a topic alias', publish('a', { properties: { topicAlias: 1 } }), 'protocol_error', 0x82],
    ['no topic', publish(''), 'protocol_error', 0x82],
    ['a wildcard', publish('a/#'), 'protocol_error', 0x82],
    ['packet id 0', publish('a', { qos: 1, messageId: 0 }), 'protocol_error', 0x82],
    ['a broken answer', publish('$iothub/streams/res/OK/?$rid=1'), 'protocol_error', 0x82],
  ])('with %s end the session', (_name, packet, code, reasonCode) => {
    const effects = openSession(5).receive(packet, NOW);
    expect(endOf(effects)).toBe(code);
    expect(sent(effects)).toMatchObject([{ cmd: 'disconnect', reasonCode }]);
    expect(sent(openSession(4).receive(packet, NOW))).toEqual([]);
  });
});

describe('subscriptions', () => {
  it.each<[string, MqttPacket, ErrorCode]>([
    ['packet id 0', { cmd: 'subscribe', messageId: 0, subscriptions: [{ topic: 'a', qos: 0 }] }, 'protocol_error'],
    ['no filter', { cmd: 'subscribe', messageId: 1, subscriptions: [] }, 'protocol_error'],
    ['no filter to leave', { cmd: 'unsubscribe', messageId: 1, unsubscriptions: [] }, 'protocol_error'],
    [
      'too many filters',
      { cmd: 'unsubscribe', messageId: 1, unsubscriptions: new Array<string>(65).fill('a') },
      'too_many_requests',
    ],
    [
      'an identifier',
      {
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: 'a', qos: 0 }],
        properties: { subscriptionIdentifier: 1 },
      },
      'protocol_error',
    ],
  ])('with %s end the session', (_name, packet, code) => {
    expect(endOf(openSession(5).receive(packet, NOW))).toBe(code);
  });
});

describe('after the end', () => {
  it('nothing happens any more', () => {
    const session = openSession(5);
    session.lost(new CulvertError('device_gone'));
    expect(session.takesOffers).toBe(false);
    expect(session.receive({ cmd: 'pingreq' }, NOW)).toEqual([]);
    expect(session.tick(NOW + 1e9)).toEqual([]);
    expect(session.accept(NOW, Infinity)).toEqual([]);
    expect(session.release(NOW)).toEqual([]);
    expect(session.lost(new CulvertError('device_gone'))).toEqual([]);
    expect(() => session.offer(OFFER)).toThrow(expect.objectContaining({ code: 'device_gone' }));
  });
});
