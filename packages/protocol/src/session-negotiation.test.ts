import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatNoSession,
  formatOfferedServices,
  formatSessionAnswer,
  formatSessionRequest,
  isVersionWithin,
  MAX_OFFERED_SERVICES,
  type NoSession,
  parseSessionRequest,
  readMilliseconds,
  readNoSession,
  readOfferedServices,
  readSessionAnswer,
  readSessionRequest,
} from './session-negotiation.ts';

const ID = 'ab'.repeat(16);

const version = fc.integer({ min: 1, max: 255 });
const range = fc.tuple(version, version).map(([a, b]) => ({ lowest: Math.min(a, b), highest: Math.max(a, b) }));
const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const request = fc.record({ id, range, encrypted: fc.boolean() }).map(({ range, ...rest }) => ({ ...rest, ...range }));
const serviceName = fc.stringMatching(/^[A-Za-z0-9\-_.~:@!$'()*,;]{1,128}$/);

describe('the session of a stream request', () => {
  it('is read as it was written', () => {
    expect(formatSessionRequest({ id: ID, lowest: 1, highest: 3, encrypted: true })).toBe(
      `id=${ID}; lowest=1; highest=3; encrypted=1`,
    );
    fc.assert(
      fc.property(request, (asked) => {
        expect(readSessionRequest(formatSessionRequest(asked))).toEqual(asked);
      }),
    );
  });

  it('may have keys in any order, and keys of later versions', () => {
    const text = `encrypted=0;later=x/y+z-1; highest=2;lowest=2;  id=${ID} `;
    expect(parseSessionRequest(text)).toEqual({ id: ID, lowest: 2, highest: 2, encrypted: false });
  });

  it.each([
    '',
    ID,
    `id=${ID}`,
    `id=${ID.toUpperCase()}; lowest=1; highest=1; encrypted=1`,
    `id=${ID}0; lowest=1; highest=1; encrypted=1`,
    `id=${ID}; lowest=2; highest=1; encrypted=1`,
    `id=${ID}; lowest=0; highest=1; encrypted=1`,
    `id=${ID}; lowest=01; highest=1; encrypted=1`,
    `id=${ID}; lowest=1; highest=256; encrypted=1`,
    `id=${ID}; lowest=1; highest=1; encrypted=true`,
    `id=${ID}; lowest=1; highest=1; encrypted=1; encrypted=1`,
    `id=${ID}; lowest=1; highest=1; encrypted=1;`,
    `id=${ID}; lowest=1; highest=1; encrypted=1, id=${ID}`,
    `id=${ID}; lowest=1; highest=1; encrypted=1\n`,
    `id=${ID}; lowest=1; highest=1; encrypted=1; later=${'x'.repeat(256)}`,
  ])('%j is malformed', (text) => {
    expect(readSessionRequest(text)).toBeUndefined();
    expect(() => parseSessionRequest(text)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });

  it('is not written when it would be malformed', () => {
    for (const asked of [
      { id: 'x', lowest: 1, highest: 1, encrypted: true },
      { id: ID, lowest: 1.5, highest: 2, encrypted: true },
      { id: ID, lowest: 2, highest: 1, encrypted: true },
    ])
      expect(() => formatSessionRequest(asked)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });

  it('no text makes the readers throw', () => {
    fc.assert(
      fc.property(fc.anything(), fc.string(), (value, text) => {
        readSessionRequest(value);
        readSessionAnswer(value);
        readSessionRequest(text);
        readSessionAnswer(text);
        readOfferedServices(text);
      }),
    );
  });
});

describe('the device’s answer', () => {
  it('is read as it was written', () => {
    expect(formatSessionAnswer({ version: 1, encrypted: false })).toBe('version=1; encrypted=0');
    const answer = fc.record({ version, encrypted: fc.boolean() });
    fc.assert(
      fc.property(answer, (given) => {
        expect(readSessionAnswer(formatSessionAnswer(given))).toEqual(given);
      }),
    );
  });

  it('is none when it is malformed, or was sent twice', () => {
    for (const text of [
      '',
      'version=1',
      'version=0; encrypted=1',
      'version=1; encrypted=2',
      ['version=1; encrypted=1'],
    ])
      expect(readSessionAnswer(text)).toBeUndefined();
    expect(() => formatSessionAnswer({ version: 0, encrypted: true })).toThrow();
  });

  it('must lie within all ranges', () => {
    fc.assert(
      fc.property(version, range, range, (chosen, a, b) => {
        const inA = chosen >= a.lowest && chosen <= a.highest;
        const inB = chosen >= b.lowest && chosen <= b.highest;
        expect(isVersionWithin(chosen, a, b)).toBe(inA && inB);
      }),
    );
  });
});

describe('the services of an offer', () => {
  it('are all, or a list that is read as it was written', () => {
    expect(readOfferedServices(formatOfferedServices('*'))).toBe('*');
    const names = fc.array(serviceName, { maxLength: MAX_OFFERED_SERVICES });
    fc.assert(
      fc.property(names, (list) => {
        expect(readOfferedServices(formatOfferedServices(list))).toEqual(list);
      }),
    );
  });

  it('are none when the list is malformed or too long', () => {
    const many = Array.from({ length: MAX_OFFERED_SERVICES + 1 }, (_, index) => `s${index}`);
    for (const text of [
      '',
      '**',
      '{}',
      '"ssh"',
      '[1]',
      '["a b"]',
      '["ssh"',
      JSON.stringify(many),
      `["${'x'.repeat(129)}"]`,
    ])
      expect(readOfferedServices(text)).toEqual([]);
    expect(() => formatOfferedServices(many)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
    expect(() => formatOfferedServices(['a b'])).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });
});

it('milliseconds are a positive whole number', () => {
  expect(readMilliseconds('60000')).toBe(60_000);
  for (const text of [undefined, '', '0', '-1', '1.5', '1e3', ' 1', '9'.repeat(16), ['1']])
    expect(readMilliseconds(text)).toBeUndefined();
});

describe('why a stream is raw', () => {
  it.each<[string, NoSession]>([
    ['why=not-announced', { why: 'not_announced' }],
    ['why=declined', { why: 'declined' }],
    ['why=versions; lowest=2; highest=3', { why: 'versions', lowest: 2, highest: 3 }],
  ])('is the text %j', (text, reason) => {
    expect(formatNoSession(reason)).toBe(text);
    expect(readNoSession(`${text}; later=1`)).toEqual(reason);
  });

  it.each(['', 'why=', 'why=other', 'why=versions', 'why=versions; lowest=3; highest=2', 'why=declined; why=declined'])(
    'is not known from %j',
    (text) => expect(readNoSession(text)).toBeUndefined(),
  );
});
