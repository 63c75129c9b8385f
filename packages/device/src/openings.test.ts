import type { ConnectionEvents, SessionConnection } from '@culvert/session';
import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { ConnectionOffer } from './connection-offer.ts';
import { Openings } from './openings.ts';

it('a service whose target never answers holds up no connection to another, however many wait', () => {
  const openings = new Openings(new FakeClock());
  const outcomes: string[] = [];
  const run = (service: string): void =>
    openings.run(
      service,
      () => outcomes.push(`${service} runs`),
      () => outcomes.push(`${service} is refused`),
    );
  for (let index = 0; index < 16 + 1_000 + 1; index++) run('black-hole');
  expect(outcomes.filter((outcome) => outcome === 'black-hole runs')).toHaveLength(16);
  expect(outcomes.filter((outcome) => outcome === 'black-hole is refused')).toHaveLength(1);
  run('echo');
  expect(outcomes.at(-1)).toBe('echo runs');
});

it('a connection that its service side resets keeps its slot until the program has given up', async () => {
  const connection = { service: 'black-hole' } as { events: ConnectionEvents } & SessionConnection;
  const offer = new ConnectionOffer(connection, { streamId: undefined, caller: undefined, sessionId: undefined });
  let isFree = false;
  offer.onAnswered = () => {
    isFree = true;
  };
  Object.assign(connection, { abort: () => undefined });
  connection.events.aborted('reset', '', false);
  expect(offer.pending).toBe(false);
  expect(isFree).toBe(false);
  await expect(offer.accept()).rejects.toMatchObject({ code: 'withdrawn' });
});
