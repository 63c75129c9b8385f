import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../errors.ts';
import type { MqttPacket, MqttVersion } from './codec.ts';
import { type DeviceEffect, DeviceSession, type DeviceSessionOptions } from './device-session.ts';

const NOW = Date.UTC(2026, 0, 1);

function newSession(version?: MqttVersion, over: Partial<DeviceSessionOptions> = {}): DeviceSession {
  return new DeviceSession({
    hostName: 'hub.example',
    identity: { deviceId: 'd1' },
    password: 'token',
    keepaliveSeconds: 25,
    clientType: 'culvert/0.1 (Node)',
    ...(version === undefined ? {} : { version }),
    ...over,
  });
}

function attached(version?: MqttVersion): DeviceSession {
  const session = newSession(version);
  session.open(NOW);
  session.receive({ cmd: 'connack', sessionPresent: false, returnCode: 0, reasonCode: 0 }, NOW);
  expect(session.receive({ cmd: 'suback', messageId: 1, granted: [0] }, NOW)).toEqual([{ kind: 'attached' }]);
  return session;
}

const sent = (effects: readonly DeviceEffect[]): MqttPacket[] =>
  effects.flatMap((effect) => (effect.kind === 'send' ? [effect.packet] : []));

describe('DeviceSession', () => {
  it('connects by Azure’s form, MQTT 5 unless told otherwise', () => {
    const connect = {
      cmd: 'connect',
      protocolVersion: 5,
      clientId: 'd1',
      username: 'hub.example/d1/?api-version=2020-09-30&DeviceClientType=culvert%2F0.1%20(Node)',
      password: Buffer.from('token'),
      keepalive: 25,
    };
    expect(sent(newSession().open(NOW))).toMatchObject([connect]);
    const [four] = sent(newSession(4).open(NOW));
    expect(four).toMatchObject({ ...connect, protocolVersion: 4 });
    expect(four).not.toHaveProperty('properties');
  });

  it('connects as a module, and without a password where a certificate does its work', () => {
    const identity = { deviceId: 'd1', moduleId: 'camera' };
    const [connect] = sent(newSession(5, { identity, password: undefined }).open(NOW));
    expect(connect).toMatchObject({
      clientId: 'd1/camera',
      username: 'hub.example/d1/camera/?api-version=2020-09-30&DeviceClientType=culvert%2F0.1%20(Node)',
    });
    expect(connect).not.toHaveProperty('password');
  });

  it('subscribes when let in and is attached when that is granted', () => {
    const session = newSession();
    session.open(NOW);
    const subscribed = session.receive({ cmd: 'connack', sessionPresent: false, reasonCode: 0 }, NOW);
    expect(sent(subscribed)).toMatchObject([
      { cmd: 'subscribe', subscriptions: [{ topic: '$iothub/streams/POST/#', qos: 0 }] },
    ]);
    expect(session.receive({ cmd: 'suback', messageId: 1, granted: [0] }, NOW)).toEqual([{ kind: 'attached' }]);
  });

  it.each<[number, ErrorCode, boolean]>([
    [1, 'protocol_unsupported', false],
    [2, 'argument_invalid', false],
    [3, 'unreachable', true],
    [4, 'unauthorized', false],
    [5, 'unauthorized', false],
    [99, 'unreachable', true],
  ])('is refused by return code %i with %s', (returnCode, code, retryable) => {
    const session = newSession(4);
    session.open(NOW);
    const [end] = session.receive({ cmd: 'connack', sessionPresent: false, returnCode }, NOW);
    expect(end).toMatchObject({ kind: 'end', refused: true, error: { code, row: { retryable } } });
  });

  it.each<[number, ErrorCode]>([
    [0x84, 'protocol_unsupported'],
    [0x85, 'argument_invalid'],
    [0x87, 'unauthorized'],
    [0x88, 'unreachable'],
    [0x89, 'too_many_requests'],
  ])('is refused by reason code %i with %s and the reason string', (reasonCode, code) => {
    const session = newSession();
    session.open(NOW);
    const properties = { reasonString: 'because\n' };
    const [end] = session.receive({ cmd: 'connack', sessionPresent: false, reasonCode, properties }, NOW);
    expect(end).toMatchObject({ kind: 'end', refused: true, error: { code, message: 'because\\u000a' } });
  });

  it('is refused when the subscription is', () => {
    const session = newSession();
    session.open(NOW);
    session.receive({ cmd: 'connack', sessionPresent: false, reasonCode: 0 }, NOW);
    expect(session.receive({ cmd: 'suback', messageId: 1, granted: [0x87] }, NOW)).toMatchObject([
      { kind: 'end', refused: true, error: { code: 'forbidden' } },
    ]);
  });

  it.each<[number, ErrorCode]>([
    [0x8b, 'draining'],
    [0x8e, 'taken_over'],
    [0x98, 'revoked'],
    [0x8d, 'keepalive_timeout'],
    [0x80, 'unreachable'],
  ])('ends with DISCONNECT %i as %s, which is no refusal', (reasonCode, code) => {
    expect(attached().receive({ cmd: 'disconnect', reasonCode }, NOW)).toMatchObject([
      { kind: 'end', refused: false, error: { code } },
    ]);
  });

  it('hands out offers, with who asks where it is told, and acknowledges QoS 1', () => {
    const topic = '$iothub/streams/POST/ssh/?$rid=3&$url=wss%3A%2F%2Fh%3A443%2Fx&$auth=tok';
    const offer = { streamName: 'ssh', requestId: '3', grant: { url: 'wss://h:443/x', token: 'tok' } };
    const plain: MqttPacket = { cmd: 'publish', topic, payload: '', qos: 0, dup: false, retain: false };
    expect(attached(4).receive(plain, NOW)).toEqual([{ kind: 'offer', offer: offer }]);
    const userProperties = { 'culvert-stream-id': 'abc', 'culvert-caller': ['policy:service', 'again'] };
    const told: MqttPacket = { ...plain, qos: 1, messageId: 4, properties: { userProperties } };
    expect(attached().receive(told, NOW)).toMatchObject([
      { kind: 'send', packet: { cmd: 'puback', messageId: 4 } },
      { kind: 'offer', offer: { ...offer, streamId: 'abc', caller: 'policy:service' } },
    ]);
    expect(attached().receive({ ...plain, topic: '$iothub/streams/POST/ssh/?$rid=3' }, NOW)).toEqual([]);
    expect(attached().receive({ ...plain, topic: '$iothub/twin/res/200' }, NOW)).toEqual([]);
  });

  it('answers, a rejection with its reason cut to 512 bytes', () => {
    const session = attached();
    expect(sent(session.answer({ requestId: '3', accepted: true, reason: 'unused' }, NOW))).toMatchObject([
      { cmd: 'publish', topic: '$iothub/streams/res/200/?$rid=3', payload: '', qos: 0 },
    ]);
    expect(sent(session.answer({ requestId: '4', accepted: false, reason: 'ß'.repeat(400) }, NOW))).toMatchObject([
      { topic: '$iothub/streams/res/400/?$rid=4', payload: 'ß'.repeat(256) },
    ]);
    session.close(NOW);
    expect(session.answer({ requestId: '5', accepted: true }, NOW)).toEqual([]);
  });

  it('gives up when the hub does not let it in within 10 s', () => {
    const session = newSession();
    expect(session.deadline).toBeUndefined();
    session.open(NOW);
    expect(session.deadline).toBe(NOW + 10_000);
    expect(session.tick(NOW + 9_999)).toEqual([]);
    expect(session.tick(NOW + 10_000)).toMatchObject([{ kind: 'end', refused: false, error: { code: 'unreachable' } }]);
  });

  it('pings when either direction was silent for the keepalive, and notices a hub that is gone within two', () => {
    const session = attached();
    expect(session.deadline).toBe(NOW + 25_000);
    expect(session.tick(NOW + 24_999)).toEqual([]);
    // A sent packet does not postpone the ping, because it does not show that the hub is still connected.
    session.answer({ requestId: '1', accepted: true }, NOW + 20_000);
    expect(sent(session.tick(NOW + 25_000))).toEqual([{ cmd: 'pingreq' }]);
    session.receive({ cmd: 'pingresp' }, NOW + 25_100);
    expect(session.deadline).toBe(NOW + 50_000);
    expect(sent(session.tick(NOW + 50_000))).toEqual([{ cmd: 'pingreq' }]);
    expect(session.deadline).toBe(NOW + 75_000);
    expect(session.tick(NOW + 75_000)).toMatchObject([{ kind: 'end', error: { code: 'keepalive_timeout' } }]);
  });

  it('pings as often as a hub with a shorter keepalive wants', () => {
    const session = newSession();
    session.open(NOW);
    const properties = { serverKeepAlive: 10 };
    session.receive({ cmd: 'connack', sessionPresent: false, reasonCode: 0, properties }, NOW);
    session.receive({ cmd: 'suback', messageId: 1, granted: [0] }, NOW);
    expect(session.deadline).toBe(NOW + 10_000);
  });

  it.each<MqttPacket>([
    { cmd: 'connack', sessionPresent: false, reasonCode: 0 },
    { cmd: 'pingreq' },
    { cmd: 'pubrel', messageId: 1 },
    { cmd: 'subscribe', messageId: 1, subscriptions: [] },
  ])('ends on $cmd, which no hub sends then', (packet) => {
    expect(attached().receive(packet, NOW)).toMatchObject([{ kind: 'end', error: { code: 'protocol_error' } }]);
  });

  it('closes with DISCONNECT, once', () => {
    const session = attached();
    expect(session.close(NOW)).toEqual([
      { kind: 'send', packet: { cmd: 'disconnect', reasonCode: 0 } },
      { kind: 'end', error: undefined, refused: false },
    ]);
    expect(session.close(NOW)).toEqual([]);
    expect(session.receive({ cmd: 'pingresp' }, NOW)).toEqual([]);
    expect(session.deadline).toBeUndefined();
  });
});
