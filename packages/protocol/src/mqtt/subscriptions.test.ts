import { describe, expect, it } from 'vitest';
import { isTopicFilter, MAX_SUBSCRIPTIONS, matchesEveryOffer, Subscriptions } from './subscriptions.ts';

describe('matchesEveryOffer', () => {
  it.each([
    '$iothub/streams/POST/#',
    '$iothub/streams/POST/+/#',
    '$iothub/streams/POST/+/+',
    '$iothub/streams/POST/+/+/#',
    '$iothub/streams/#',
    '$iothub/#',
    '$iothub/+/POST/#',
    '$iothub/+/+/+/+',
  ])('%s does', (filter) => expect(matchesEveryOffer(filter)).toBe(true));

  it.each([
    '#',
    '+/streams/POST/#',
    '$iothub/streams/res/#',
    '$iothub/streams/POST',
    '$iothub/streams/POST/+',
    '$iothub/streams/POST/ssh/#',
    '$iothub/streams/POST/+/+/+',
    '$iothub/streams/POST/+/+/+/#',
    '$iothub/twin/res/#',
    'devices/d1/messages/devicebound/#',
  ])('%s does not', (filter) => expect(matchesEveryOffer(filter)).toBe(false));
});

describe('isTopicFilter', () => {
  it.each(['a', '/', 'a/+/b', '#', 'a/#', '+'])('takes %j', (filter) => expect(isTopicFilter(filter)).toBe(true));
  it.each(['', 'a#', 'a/#/b', 'a+/b', '+a', 'a\0b', 'x'.repeat(1_025)])('refuses %j', (filter) =>
    expect(isTopicFilter(filter)).toBe(false),
  );
});

describe('Subscriptions', () => {
  const subscribe = (subscriptions: Subscriptions, filter: string, qos: 0 | 1 | 2, version: 4 | 5 = 5) =>
    subscriptions.subscribe({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] }, version);

  it('grants at most QoS 1 and offers with the highest of the filters that match', () => {
    const subscriptions = new Subscriptions();
    expect(subscriptions.offerQos).toBeUndefined();
    expect(subscribe(subscriptions, '$iothub/twin/res/#', 1)).toEqual([1]);
    expect(subscriptions.offerQos).toBeUndefined();
    expect(subscribe(subscriptions, '$iothub/streams/POST/#', 0)).toEqual([0]);
    expect(subscriptions.offerQos).toBe(0);
    expect(subscribe(subscriptions, '$iothub/streams/#', 2)).toEqual([1]);
    expect(subscriptions.offerQos).toBe(1);
    expect(subscriptions.unsubscribe(['$iothub/streams/#', 'never'])).toEqual([0, 0x11]);
    expect(subscriptions.offerQos).toBe(0);
  });

  it('refuses bad, shared and too many filters, each version in its own words', () => {
    const subscriptions = new Subscriptions();
    expect(subscribe(subscriptions, 'a/#/b', 0)).toEqual([0x8f]);
    expect(subscribe(subscriptions, 'a/#/b', 0, 4)).toEqual([0x80]);
    expect(subscribe(subscriptions, '$share/group/a', 0)).toEqual([0x9e]);
    for (let i = 0; i < MAX_SUBSCRIPTIONS; i++) expect(subscribe(subscriptions, `t/${i}`, 0)).toEqual([0]);
    expect(subscribe(subscriptions, 'one/more', 0)).toEqual([0x97]);
    expect(subscribe(subscriptions, 'one/more', 0, 4)).toEqual([0x80]);
    expect(subscribe(subscriptions, 't/0', 1)).toEqual([1]);
  });
});
