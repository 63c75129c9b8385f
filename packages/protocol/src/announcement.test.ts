import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAnnouncement, MAX_ANNOUNCEMENT_BYTES, parseAnnouncement } from './announcement.ts';

describe('what a device announces', () => {
  it('is read as it was written', () => {
    expect(formatAnnouncement({ session: { lowest: 1, highest: 1, encrypted: true } })).toBe(
      '{"version":1,"session":{"lowest":1,"highest":1,"encrypted":true}}',
    );
    expect(parseAnnouncement(formatAnnouncement({}))).toEqual({});
    const version = fc.integer({ min: 1, max: 255 });
    fc.assert(
      fc.property(version, version, fc.boolean(), (a, b, encrypted) => {
        const announced = { session: { lowest: Math.min(a, b), highest: Math.max(a, b), encrypted } };
        expect(parseAnnouncement(formatAnnouncement(announced))).toEqual(announced);
      }),
    );
  });

  it('may name capabilities that are not known here', () => {
    const text = '{"version":1,"region":"eu","session":{"lowest":1,"highest":2,"encrypted":false,"more":[1]}}';
    expect(parseAnnouncement(text)).toEqual({ session: { lowest: 1, highest: 2, encrypted: false } });
    expect(parseAnnouncement('{"version":1,"services":["ssh"]}')).toEqual({});
  });

  it.each([
    undefined,
    7,
    ['{"version":1}', '{"version":1}'],
    '',
    'x',
    'null',
    '[]',
    '{}',
    '{"version":2}',
    '{"version":"1"}',
    '{"version":1,"session":null}',
    '{"version":1,"session":true}',
    '{"version":1,"session":[]}',
    '{"version":1,"session":{"lowest":1,"highest":1}}',
    '{"version":1,"session":{"lowest":2,"highest":1,"encrypted":true}}',
    '{"version":1,"session":{"lowest":0,"highest":1,"encrypted":true}}',
    '{"version":1,"session":{"lowest":1,"highest":"1","encrypted":true}}',
    `{"version":1,"later":"${'x'.repeat(MAX_ANNOUNCEMENT_BYTES)}"}`,
    `{"version":1,"later":"${'ä'.repeat(MAX_ANNOUNCEMENT_BYTES / 2)}"}`,
    `${'['.repeat(2_000)}${']'.repeat(2_000)}`,
  ])('%j is none', (text) => {
    expect(parseAnnouncement(text)).toBeUndefined();
  });

  it('no value makes the reader throw', () => {
    fc.assert(fc.property(fc.anything(), fc.json(), (value, json) => void [value, json].map(parseAnnouncement)));
  });

  it('is not sent when it would be malformed', () => {
    for (const session of [
      { lowest: 0, highest: 1, encrypted: true },
      { lowest: 2, highest: 1, encrypted: true },
    ])
      expect(() => formatAnnouncement({ session })).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  });
});
