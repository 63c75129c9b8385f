import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runHub } from '../src/run-hub.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-run-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const flags = { listen: '127.0.0.1:0', adminListen: '127.0.0.1:0', logFormat: 'json' } as const;

/** Runs a hub with signals from an emitter instead of the process, and collects its log entries. */
function start() {
  const signals = new EventEmitter();
  const lines: string[] = [];
  const waiting: [string, () => void][] = [];
  const write = (line: string): void => {
    lines.push(line);
    for (const [text, resolve] of waiting) if (line.includes(text)) resolve();
  };
  const ended = runHub(flags, {
    env: {},
    defaultDataDir: join(directory, 'data'),
    log: { write },
    on: (signal, listener) => signals.on(signal, listener),
    removeListener: (signal, listener) => signals.removeListener(signal, listener),
  });
  const logged = (text: string) =>
    new Promise<void>((resolve) => {
      waiting.push([text, resolve]);
    });
  return { signals, lines, ended, logged };
}

it('runs until SIGTERM, and takes its listeners off', async () => {
  const { signals, lines, ended, logged } = start();
  await logged('hub-started');
  expect(signals.emit('SIGHUP')).toBe(true);
  expect(signals.emit('SIGTERM')).toBe(true);
  await ended;
  expect(signals.eventNames()).toEqual([]);
  expect(lines.at(-1)).toContain('hub-stopped');
});

it('hears signals from the first moment: SIGHUP does not end it, SIGINT does when it has started', async () => {
  const { signals, lines, ended } = start();
  expect(signals.emit('SIGHUP')).toBe(true);
  expect(signals.emit('SIGINT')).toBe(true);
  expect(signals.emit('SIGINT')).toBe(true);
  await ended;
  expect(signals.eventNames()).toEqual([]);
  expect(lines.at(-1)).toContain('hub-stopped');
});
