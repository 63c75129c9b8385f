import {
  CulvertError,
  closeReason,
  ERRORS,
  type ErrorCode,
  errorFromClose,
  formatAnswerTopic,
  formatErrorBody,
  formatOfferTopic,
  parseAnswerTopic,
  parseErrorBody,
  parseHandshakeTimes,
  parseOfferTopic,
  streamRequestPath,
} from '@culvert/protocol';
import { describe, expect, it } from 'vitest';

describe('the two timeouts', () => {
  it.each([
    [undefined, undefined, 60_000, 60_000],
    ['30', '30', 30_000, 60_000],
    ['5', '10', 5_000, 15_000],
    ['0', '0', 0, 0],
    ['0', '2.5', 0, 2_500],
    ['100', '1', 60_000, 60_000],
    ['1', undefined, 1_000, 60_000],
  ])('%s and %s are %i ms to connect and %i ms in all', (connect, response, connectMs, answerMs) => {
    expect(parseHandshakeTimes(connect, response)).toEqual({ connectMs, answerMs });
  });

  it.each(['', ' ', '-1', '+1', '1e3', 'NaN', '1,5', '1.', '0x1', '99999999999'])('%j is refused', (text) => {
    expect(() => parseHandshakeTimes(text, '1')).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });
});

describe('an offer’s topic', () => {
  const offer = {
    streamName: 'TestStream',
    requestId: '1',
    url: 'wss://hub:443/bridges/0a/device',
    token: 'eyJ.a-b_c',
  };

  it('has five levels, the parameters in order, and only the URL escaped', () => {
    const topic = formatOfferTopic(offer);
    expect(topic).toBe(
      '$iothub/streams/POST/TestStream/?$rid=1&$url=wss%3A%2F%2Fhub%3A443%2Fbridges%2F0a%2Fdevice&$auth=eyJ.a-b_c',
    );
    expect(topic.split('/')).toHaveLength(5);
    expect(parseOfferTopic(topic)).toEqual(offer);
  });

  it('may hold more than we know, as a real fixture does', () => {
    expect(parseOfferTopic(`${formatOfferTopic(offer)}&$ip=111.222.333.444`)).toEqual(offer);
  });

  it.each([
    '',
    '$iothub/streams/POST/x/',
    '$iothub/streams/POST/x/?$rid=1',
    '$iothub/twin/x',
    '$iothub/streams/POST/x/?$rid=1&$url=%zz&$auth=a',
  ])('is not %j', (topic) => {
    expect(parseOfferTopic(topic)).toBeUndefined();
  });
});

describe('an answer’s topic', () => {
  it('says accepted or rejected', () => {
    for (const accepted of [true, false]) {
      expect(parseAnswerTopic(formatAnswerTopic({ requestId: '7', accepted }))).toEqual({ requestId: '7', accepted });
    }
    expect(parseAnswerTopic('devices/d/messages/events/')).toBeUndefined();
    expect(() => parseAnswerTopic('$iothub/streams/res/200/')).toThrow(
      expect.objectContaining({ code: 'protocol_error' }),
    );
    expect(() => parseAnswerTopic(`$iothub/streams/res/200/?$rid=${'1'.repeat(65)}`)).toThrow();
  });
});

describe('errors', () => {
  it('go through a REST body and come out the same', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      const body = formatErrorBody(new CulvertError(code, 'what happened'), 'id', new Date(0));
      const error = parseErrorBody(ERRORS[code].http, body);
      expect([error.code, error.message]).toEqual([code, 'what happened']);
    }
  });

  it.each([
    [
      404,
      '{"Message":"{\\"errorCode\\":404103,\\"message\\":\\"not online\\"}","ExceptionMessage":""}',
      'device_offline',
    ],
    [404, '{"code":"policy_not_found","detail":"no"}', 'policy_not_found'],
    [502, '<html>Bad gateway</html>', 'unreachable'],
    [401, '', 'unauthorized'],
    [429, 'null', 'too_many_requests'],
    [418, '{"Message":5}', 'protocol_error'],
  ])('are understood from others: %i %s', (status, body, code) => {
    expect(parseErrorBody(status, body).code).toBe(code);
  });

  it('have close codes that mean themselves, and only 1000 is clean', () => {
    expect(errorFromClose(1000, '')).toBeUndefined();
    expect(errorFromClose(1006, '')).toMatchObject({ code: 'stream_lost' });
    expect(errorFromClose(4408, '')).toMatchObject({ code: 'handshake_timeout' });
    expect(errorFromClose(4999, 'why')).toMatchObject({ code: 'stream_lost', message: 'why' });
  });

  it('have reasons that fit a close frame, cut between characters', () => {
    const cut = closeReason('ü'.repeat(100));
    expect([Buffer.byteLength(cut), cut]).toEqual([122, 'ü'.repeat(61)]);
    expect(closeReason('short')).toBe('short');
  });
});

it('the path of a request escapes the device and not the name', () => {
  expect(streamRequestPath({ deviceId: "a#?/%'".replace('/', '') }, 'web:1')).toMatch(
    /^\/twins\/a%23%3F%25'\/streams\/web:1\?api-version=/,
  );
  expect(() => streamRequestPath({ deviceId: 'a' }, 'b/c')).toThrow();
});
