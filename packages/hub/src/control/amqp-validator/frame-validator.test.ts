import { amqpFrame, amqpFrames, amqpHeader, amqpRawFrame, amqpValue } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { FrameValidator } from './frame-validator.ts';

const { attach, begin, close, detach, disposition, end, flow, message, open, saslInit, transfer } = amqpFrames;
const {
  array,
  binary,
  described,
  false: no,
  list,
  map,
  null: none,
  string,
  symbol,
  true: yes,
  uint,
  ushort,
} = amqpValue;

/** Maximum bytes of a message. */
const MAX_MESSAGE_BYTES = 10_000;

function validator(identities = 1, nextSent = 0) {
  return new FrameValidator({
    maxMessageBytes: MAX_MESSAGE_BYTES,
    identities: () => identities,
    nextSent: () => nextSent,
  });
}

/** The kinds of what the validator passes of these frames, on a connection without SASL. */
function passed(frames: Buffer[], to = validator()): string[] {
  to.push(Buffer.concat([amqpHeader(0), ...frames]));
  const kinds: string[] = [];
  for (let next = to.next(); next !== undefined; next = to.next()) kinds.push(next.kind);
  return kinds;
}

const refusal = (frames: Buffer[], to?: FrameValidator): string => {
  try {
    passed(frames, to);
  } catch (error) {
    return `${(error as { code: string }).code}: ${(error as Error).message}`;
  }
  return 'passed';
};

const BEGUN = [open(), begin()];
const LINK = [...BEGUN, attach(0, 'sends', '$cbs')];

describe('the frame validator', () => {
  it('lets a conversation pass, but not what only shows life', () => {
    const conversation = [
      ...[open(), amqpRawFrame(Buffer.alloc(0)), begin(), attach(0, 'sends', '$cbs'), attach(1, 'receives', '$cbs')],
      ...[flow(1, 10), transfer(0, 7, message('token')), disposition('receiver', 0, 0), detach(0), end(), close()],
    ];
    const kinds = ['header', ...new Array(7).fill('frame'), 'ending', 'ending', 'frame'];
    expect(passed(conversation, validator(1, 1))).toEqual(kinds);
  });

  it('lets nothing pass while SASL awaits its outcome', () => {
    const to = validator();
    to.push(Buffer.concat([amqpHeader(3), saslInit('PLAIN'), amqpHeader(0), open()]));
    expect([to.next()?.kind, to.next(), to.isAuthenticating]).toEqual([
      'header',
      expect.objectContaining({ kind: 'sasl-init', mechanism: 'PLAIN' }),
      true,
    ]);
    expect(to.next()).toBeUndefined();
    to.saslSucceeded();
    expect([to.next()?.kind, to.next()?.kind, to.next()]).toEqual(['header', 'frame', undefined]);
  });

  it('tells the idle-time-out of the peer', () => {
    const to = validator();
    passed([amqpFrame(0x10, [string('c'), none, none, none, uint(5_000)])], to);
    expect(to.peerIdleMs).toBe(5_000);
    const never = validator();
    passed([amqpFrame(0x10, [string('c'), none, none, none, uint(0)])], never);
    expect(never.peerIdleMs).toBeUndefined();
  });

  it.each([
    ['a frame of SASL', [amqpFrame(0x41, [symbol('PLAIN')], { type: 1 })]],
    ['an unknown type', [amqpRawFrame(Buffer.of(0x40), { type: 2 })]],
    ['something before the open', [begin()]],
    ['two opens', [open(), open()]],
    ['an open without a name', [amqpFrame(0x10, [])]],
    ['an open whose name is a number', [amqpFrame(0x10, [uint(1)])]],
    ['frames that are too small', [amqpFrame(0x10, [string('c'), none, uint(10)])]],
    ['a begin that answers none', [open(), amqpFrame(0x11, [ushort(0), uint(0), uint(1), uint(1)])]],
    ['a begin without a window', [open(), amqpFrame(0x11, [none, uint(0)])]],
    ['two sessions on one channel', [...BEGUN, begin()]],
    ['a channel above the channel-max', [open(), begin(1_007)]],
    ['an attach without a session', [open(), attach(0, 'sends', '$cbs')]],
    ['an attach without a name', [...BEGUN, amqpFrame(0x12, [none, uint(0), no])]],
    ['a handle that is no number', [...BEGUN, amqpFrame(0x12, [string('a'), string('__proto__'), no])]],
    ['a handle that is in use', [...LINK, attach(0, 'sends', '$cbs', { name: 'other' })]],
    ['a name that is in use', [...LINK, attach(1, 'sends', '$cbs', { name: 'l0' })]],
    [
      'a delivery count that is no number',
      [...BEGUN, amqpFrame(0x12, [string('a'), uint(0), no, ...new Array(6).fill(none), string('x')])],
    ],
    [
      'properties that are no map',
      [...BEGUN, amqpFrame(0x12, [string('a'), uint(0), no, ...new Array(10).fill(none), list()])],
    ],
    ['a flow on no link', [...BEGUN, flow(3, 1)]],
    [
      'a drain by who sends',
      [...LINK, amqpFrame(0x13, [uint(0), uint(1), uint(0), uint(1), uint(0), uint(0), uint(1), none, yes])],
    ],
    ['a message on no link', [...BEGUN, transfer(0, 0, message('x'))]],
    ['a message on a link to receive', [...BEGUN, attach(0, 'receives', '$cbs'), transfer(0, 0, message('x'))]],
    ['a message after its link was detached', [...LINK, detach(0), transfer(0, 0, message('x'))]],
    ['a delivery without an id', [...LINK, amqpFrame(0x14, [uint(0)], { payload: message('x') })]],
    ['a delivery out of order', [...LINK, transfer(0, 1, message('x')), transfer(0, 3, message('x'))]],
    [
      'a delivery within another',
      [...LINK, transfer(0, 1, message('x'), { more: true }), transfer(0, 2, message('x'))],
    ],
    ['a message of nothing', [...LINK, transfer(0, 0, Buffer.alloc(0))]],
    ['a message that is no message', [...LINK, transfer(0, 0, string('x'))]],
    ['a message of an unknown section', [...LINK, transfer(0, 0, described(0x79, string('x')))]],
    ['properties that are a string', [...LINK, transfer(0, 0, described(0x73, string('x')))]],
    ['two bodies', [...LINK, transfer(0, 0, Buffer.concat([message('x'), message('y')]))]],
    ['a body cut short', [...LINK, transfer(0, 0, message('x').subarray(0, -1))]],
    ['a million nulls for a body', [...LINK, transfer(0, 0, described(0x77, array(0x40, 1_000_000, Buffer.alloc(0))))]],
    ['a disposition of what was not sent', [...BEGUN, disposition('receiver', 0, 0)]],
    ['a disposition of everything there could be', [...BEGUN, disposition('sender', 0, 0xffff_ffff)]],
    ['an unknown outcome', [...BEGUN, amqpFrame(0x15, [no, uint(0), uint(0), yes, described(0x34, list())])]],
    ['an outcome that is none', [...BEGUN, amqpFrame(0x15, [no, uint(0), uint(0), yes, string('accepted')])]],
    ['a detach of no link', [...BEGUN, detach(0)]],
    ['an end of no session', [open(), end()]],
    ['something after the close', [open(), close(), begin()]],
    ['an unknown performative', [open(), amqpFrame(0x19, [])]],
    ['a performative that is a map', [amqpRawFrame(described(0x10, map()))]],
    ['no performative', [amqpRawFrame(string('open'))]],
    ['data that begins outside of the frame', [Buffer.from([0, 0, 0, 8, 3, 0, 0, 0])]],
    ['data that begins within the header', [Buffer.from([0, 0, 0, 8, 1, 0, 0, 0])]],
  ])('ends a conversation with %s', (_name, frames) => {
    expect(refusal(frames)).toMatch(/^protocol_error: /);
  });

  it.each([
    [
      'transactions',
      [...BEGUN, amqpFrame(0x12, [string('a'), uint(0), no, none, none, none, described(0x30, list())])],
      'not_supported',
    ],
    [
      'a delivery that is aborted',
      [...LINK, amqpFrame(0x14, [uint(0), uint(0), none, none, none, none, none, none, none, yes])],
      'not_supported',
    ],
    [
      'an idle-time-out that cannot be kept',
      [amqpFrame(0x10, [string('c'), none, none, none, uint(1)])],
      'not_supported',
    ],
    ['a message that is too large', [...LINK, transfer(0, 0, message('x'.repeat(MAX_MESSAGE_BYTES)))], 'too_large'],
  ])('ends a conversation with %s', (_name, frames, code) => {
    expect(refusal(frames)).toMatch(new RegExp(`^${code}: `));
  });

  it('counts messages under way over all links, and each piece for what it costs', () => {
    const links = Array.from({ length: 10 }, (_, index) => attach(index, 'sends', '$cbs'));
    const pieces = Array.from({ length: 39 }, (_, index) =>
      transfer(index % 10, index % 10, Buffer.of(1), { more: true }),
    );
    expect(refusal([...BEGUN, ...links, ...pieces])).toBe('passed');
    const more = transfer(0, 0, Buffer.of(1), { more: true });
    expect(refusal([...BEGUN, ...links, ...pieces, more])).toMatch(/^too_large: /);
  });

  it('forgets a message under way with its link, and with its session', () => {
    const half = (deliveryId: number) => transfer(0, deliveryId, Buffer.alloc(9_000), { more: true });
    const again = [attach(0, 'sends', '$cbs'), half(1)];
    expect(refusal([...LINK, half(0), detach(0), ...again])).toBe('passed');
    expect(refusal([...LINK, half(0), end(), begin(), ...again])).toBe('passed');
  });

  it('bounds links by the identities there are, and sessions too', () => {
    const links = (count: number) => Array.from({ length: count }, (_, index) => attach(index, 'sends', '$cbs'));
    const sessions = (count: number) => Array.from({ length: count }, (_, index) => begin(index));
    for (const [identities, most, sessionsMost] of [
      [0, 16, 8],
      [2, 48, 10],
    ] as const) {
      expect(refusal([...BEGUN, ...links(most)], validator(identities))).toBe('passed');
      expect(refusal([...BEGUN, ...links(most + 1)], validator(identities))).toMatch(/^too_many_requests: /);
      expect(refusal([open(), ...sessions(sessionsMost)], validator(identities))).toBe('passed');
      expect(refusal([open(), ...sessions(sessionsMost + 1)], validator(identities))).toMatch(/^too_many_requests: /);
    }
  });

  it('goes on when delivery ids begin again after 32 bits', () => {
    const frames = [0xffff_fffe, 0xffff_ffff, 0, 1].map((id) => transfer(0, id, message('x')));
    expect(refusal([...LINK, ...frames])).toBe('passed');
  });

  it('takes symbols for descriptors, and messages in a format of their own unseen', () => {
    const byName = Buffer.concat([Buffer.of(0), symbol('amqp:open:list'), list(string('c'))]);
    expect(passed([amqpRawFrame(byName)])).toEqual(['header', 'frame']);
    expect(refusal([...LINK, transfer(0, 0, Buffer.from('no message'), { format: 1 })])).toBe('passed');
  });

  it.each([
    ['another frame', amqpFrame(0x44, [amqpValue.ubyte(0)], { type: 1 })],
    ['a frame of AMQP', open()],
    ['no mechanism', amqpFrame(0x41, [], { type: 1 })],
    ['a mechanism that is text', amqpFrame(0x41, [string('PLAIN')], { type: 1 })],
    ['a response that is no bytes', amqpFrame(0x41, [symbol('PLAIN'), string('x')], { type: 1 })],
    ['an empty frame', amqpRawFrame(Buffer.alloc(0), { type: 1 })],
  ])('ends a SASL layer that begins with %s', (_name, frame) => {
    const to = validator();
    to.push(Buffer.concat([amqpHeader(3), frame]));
    expect(to.next()?.kind).toBe('header');
    expect(() => to.next()).toThrow(expect.objectContaining({ code: 'protocol_error' }));
  });

  it('keeps binary fields and arrays apart', () => {
    expect(refusal([...LINK, amqpFrame(0x14, [uint(0), uint(0), string('tag')], { payload: message('x') })])).toMatch(
      /^protocol_error: /,
    );
    expect(
      refusal([...LINK, amqpFrame(0x14, [uint(0), uint(0), binary(Buffer.of(1)), uint(0)], { payload: message('x') })]),
    ).toBe('passed');
  });
});
