import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ConnectionClaim,
  formatSessionReport,
  parseSessionReport,
  readSessionReport,
  SESSION_REPORT_LIMITS,
} from './session-report.ts';

const ID = 'ab'.repeat(16);
const claim: ConnectionClaim = {
  id: 1,
  service: 'ssh',
  opened: 1_000,
  closed: 2_000,
  sent: 3,
  received: 4,
  reason: 'x',
};
const of = (over: Record<string, unknown>) => ({ session: ID, connections: [{ ...claim, ...over }] });

describe('the report of an end', () => {
  it('is read as it was written', () => {
    const whole = fc.integer({ min: 0, max: 2 ** 45 });
    const connection = fc
      .record(
        {
          id: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
          service: fc.stringMatching(/^[a-z0-9.-]{1,128}$/),
          opened: whole,
          lasted: whole,
          sent: whole,
          received: whole,
          reason: fc.stringMatching(/^[a-z .]{0,64}$/),
        },
        { requiredKeys: ['id', 'service', 'opened', 'sent', 'received'] },
      )
      .map(({ lasted, ...rest }) => ({ ...rest, ...(lasted === undefined ? {} : { closed: rest.opened + lasted }) }));
    const connections = fc.array(connection, { maxLength: SESSION_REPORT_LIMITS.connections });
    fc.assert(
      fc.property(connections, (list) => {
        const report = { session: ID, connections: list };
        expect(parseSessionReport(formatSessionReport(report))).toEqual(report);
      }),
    );
  });

  it.each([
    [null],
    [[]],
    [{}],
    [{ session: ID }],
    [{ session: ID.toUpperCase(), connections: [] }],
    [{ session: ID, connections: {} }],
    [{ session: ID, connections: [null] }],
    [{ session: ID, connections: Array.from({ length: 101 }, () => claim) }],
    [of({ id: 0 })],
    [of({ id: 2 ** 32 })],
    [of({ id: 1.5 })],
    [of({ service: 7 })],
    [of({ service: 'ä'.repeat(65) })],
    [of({ opened: -1 })],
    [of({ opened: 9e15, closed: undefined })],
    [of({ closed: 999 })],
    [of({ closed: null })],
    [of({ sent: '3' })],
    [of({ received: -1 })],
    [of({ reason: 'x'.repeat(65) })],
    [of({ reason: 7 })],
  ])('%j is malformed', (value) => {
    expect(readSessionReport(value)).toBeUndefined();
  });

  it('with unknown fields, or control characters, is read without them', () => {
    const report = { ...of({ service: 'a\u001bb', reason: 'c\nd', later: 1 }), later: 2 };
    const shown = { ...claim, service: 'a\\u001bb', reason: 'c\\u000ad' };
    expect(readSessionReport(report)).toEqual({ session: ID, connections: [shown] });
  });

  it('that is too long or no JSON is malformed', () => {
    const long = JSON.stringify({ ...of({}), later: 'x'.repeat(SESSION_REPORT_LIMITS.bytes) });
    for (const text of ['', '{', long]) expect(parseSessionReport(text)).toBeUndefined();
    expect(() => formatSessionReport({ session: 'x', connections: [] })).toThrow(
      expect.objectContaining({ code: 'argument_invalid' }),
    );
    fc.assert(fc.property(fc.anything(), (value) => void readSessionReport(value)));
  });
});
