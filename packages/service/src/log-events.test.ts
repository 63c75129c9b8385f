import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { type LogEvent, logEvents } from './log-events.ts';

function open() {
  const clock = new FakeClock();
  const stop = new AbortController();
  // The test fills the answer as node:http does: with `push`, and null at the end.
  const answer = new IncomingMessage(new Socket());
  const events = logEvents(answer, clock, stop.signal);
  return { clock, stop, answer, events };
}

async function all(events: AsyncIterable<LogEvent>): Promise<LogEvent[]> {
  const list: LogEvent[] = [];
  for await (const event of events) list.push(event);
  return list;
}

it('events are read in whatever pieces they come, comments left out, ids kept', async () => {
  const { answer, events, clock } = open();
  const text = ':\n\nid: 1-1\n\nid: 1-2\ndata: {"a":1}\n\nevent: dropped\ndata: x\r\ndata:y\r\n\r\ndata: cut off';
  for (const character of text) answer.push(character);
  answer.push(null);
  expect(await all(events)).toEqual([
    { id: '1-1', type: 'message', data: '' },
    { id: '1-2', type: 'message', data: '{"a":1}' },
    { id: '1-2', type: 'dropped', data: 'x\ny' },
  ]);
  expect(clock.timers).toBe(0);
});

it('a hub that says nothing for a minute is lost', async () => {
  const { answer, events, clock } = open();
  const read = expect(all(events)).rejects.toMatchObject({ code: 'unreachable' });
  await clock.advance(0);
  await clock.advance(59_000);
  answer.push(':\n\n');
  await clock.advance(0);
  await clock.advance(59_000);
  expect(answer.destroyed).toBe(false);
  await clock.advance(1_000);
  await read;
  expect([answer.destroyed, clock.timers]).toEqual([true, 0]);
});

it('the caller’s signal ends it, and so does a line without end', async () => {
  const first = open();
  const read = expect(all(first.events)).rejects.toMatchObject({ code: 'aborted', message: 'enough' });
  await first.clock.advance(0);
  first.stop.abort(new CulvertError('aborted', 'enough'));
  await read;
  const second = open();
  const endless = expect(all(second.events)).rejects.toMatchObject({ code: 'protocol_error' });
  second.answer.push('x'.repeat(1_048_577));
  await endless;
  expect([first.clock.timers, second.clock.timers]).toEqual([0, 0]);
});
