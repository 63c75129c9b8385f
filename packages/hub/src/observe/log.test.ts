import { expect, it } from 'vitest';
import type { LogFormat, LogLevel } from '../config/log-format.ts';
import type { HubEvent } from './events.ts';
import { logSink } from './log.ts';

function written(event: HubEvent, format: LogFormat, level: LogLevel = 'debug'): string {
  let text = '';
  const destination = {
    write(line: string) {
      text += line;
    },
  };
  logSink({ level, format, destination })(event);
  return text;
}

const answered = (reason: string): HubEvent => ({
  type: 'stream-answered',
  streamId: '1',
  deviceId: 'd',
  accepted: false,
  reason,
  protocol: 'mqtt',
  remoteAddress: '192.0.2.1',
  principal: 'device:d',
});

const HOSTILE = 'a\n{"msg":"hub-stopped"}\u001b[2J\u202etxt\u2028\u0085"';

it.each(['json', 'text'] as const)('in %s, nothing from outside begins a line or steers a terminal', (format) => {
  const text = written(answered(HOSTILE), format);
  expect(text.endsWith('\n')).toBe(true);
  expect(text.trimEnd()).toMatch(/^[^\p{Cc}\u202e\u2028]+$/u);
  expect(text.length).toBeLessThan(400);
});

it('is JSON, one object a line, or text with the event first', () => {
  const event: HubEvent = {
    type: 'stream-closed',
    streamId: '1',
    cause: 'ended_by_service',
    established: true,
    durationMs: 5,
    fromService: { bytes: 1, messages: 1 },
    fromDevice: { bytes: 2, messages: 2 },
    countedBytes: 192,
  };
  const { type: msg, ...fields } = event;
  expect(JSON.parse(written(event, 'json'))).toMatchObject({ msg, level: 30, ...fields });
  expect(written(event, 'text')).toMatch(
    /^\d{4}-\S+Z stream-closed streamId="1" .*fromDevice=\{"bytes":2,"messages":2\} countedBytes=192\n$/,
  );
});

it('marks what an operator must see', () => {
  const failed: HubEvent = { type: 'storage-failed', problem: 'The disk is full.' };
  const kept: HubEvent = { type: 'certificate-kept', problem: 'It does not match its key.' };
  expect(written(failed, 'text', 'error')).toMatch(/Z ERROR storage-failed problem="The disk is full\."\n$/);
  expect(written(kept, 'text')).toMatch(/Z WARN certificate-kept /);
});

it('does not grow at the default level by what unauthenticated clients do', () => {
  const refused: HubEvent = {
    type: 'connection-refused',
    listener: 'rest',
    remoteAddress: '192.0.2.1',
    error: 'unauthorized',
    detail: '',
  };
  const grant: HubEvent = { type: 'grant-refused', remoteAddress: '192.0.2.1', error: 'grant_invalid', detail: '' };
  expect(written(refused, 'json', 'info') + written(grant, 'json', 'info')).toBe('');
});
