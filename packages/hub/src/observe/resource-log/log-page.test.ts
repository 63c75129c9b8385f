import { readFileSync } from 'node:fs';
import { parseHubConfig } from '@culvert/hub';
import { LOG_OPERATIONS } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { StreamRecord } from '../stream-record.ts';
import { attachedEntry, detachedEntry, refusedEntry, unansweredEntry } from './connection-entries.ts';
import { sampleRecord } from './log-entry.fixture.ts';
import { connectionEntries } from './session-entries.ts';
import { endedEntry, interruptedEntry } from './stream-entries.ts';

const page = readFileSync(new URL('../../../../../docs/operating/logs.md', import.meta.url), 'utf8');

/** The names in the first column of the table after `heading`. */
function firstColumn(heading: string | RegExp): string[] {
  const [, section = ''] = page.split(heading);
  const [table = ''] = section.trimStart().split('\n\n', 1);
  const rows = table.split('\n').filter((line) => line.startsWith('| `'));
  return rows.flatMap((line) =>
    [...(line.split('|')[1] ?? '').matchAll(/`([A-Za-z]+)`/g)].map((match) => match[1] ?? ''),
  );
}

const record: StreamRecord = {
  ...{ deviceId: 'd', moduleId: 'm', streamId: '1', streamName: 's', caller: 'policy:service' },
  ...{ callerAddress: '192.0.2.1', traceParent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`, gateway: 'h:443' },
  ...{ requestedAt: 1, offeredAt: 2, answeredAt: 3, establishedAt: 4, endedAt: 5 },
  ...{ sessionId: '2', session: { version: 1, encrypted: true } },
  answeredBy: { principal: 'device:d', protocol: 'mqtt', remoteAddress: '192.0.2.2' },
  ...{ serviceAddress: '192.0.2.1', deviceAddress: '192.0.2.2', cause: 'stalled', error: 'stalled', detail: 'why' },
  ...{ fromService: { bytes: 1, messages: 1 }, fromDevice: { bytes: 1, messages: 1 }, countedBytes: 128 },
};
const device = { deviceId: 'd', moduleId: 'm', protocol: 'mqtt', remoteAddress: '192.0.2.1' } as const;
const authenticated = { ...device, principal: 'device:d', authentication: 'sas' } as const;

describe('docs/operating/logs.md', () => {
  it('has every field of a record', () => {
    expect(firstColumn('## Fields\n')).toEqual(Object.keys(JSON.parse(sampleRecord(1).json)));
  });

  it('has every operation', () => {
    expect(firstColumn(/(?<=\n\n)(?=\| operation )/)).toEqual([...LOG_OPERATIONS]);
  });

  it('has every property of a stream’s record, in its order', () => {
    const documented = firstColumn("the first eight are Azure's:");
    const entries = [
      endedEntry(record),
      interruptedEntry({ type: 'stream-interrupted', stream: record, knownUntil: 6 }, 7),
    ];
    expect(new Set(documented)).toEqual(new Set(entries.flatMap(({ properties }) => Object.keys(properties))));
    expect(documented.slice(0, 8)).toEqual(Object.keys(endedEntry(record).properties).slice(0, 8));
  });

  it('has every property of the record of a connection in a session, in its order', () => {
    const claim = { id: 1, service: 'ssh', opened: 1, closed: 2, sent: 1, received: 1, reason: 'why' };
    const [entry] = connectionEntries({
      ...{ type: 'session-reported', deviceId: 'd', moduleId: 'm', sessionId: 's', streamId: '1', caller: 'c' },
      ...{ claimedBy: 'device', at: 3, connections: [claim], recorded: [claim], unrecorded: 0 },
    });
    const [, section = ''] = page.split('Properties of `connectionClose`.');
    const table = section.split('\n\n')[1] ?? '';
    const names = [...table.matchAll(/^\| (.*?) +\|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`(\w+)`/g)].map((match) => match[1]),
    );
    expect(names).toEqual(Object.keys(entry?.properties ?? {}));
  });

  it('has every property of a connection’s record', () => {
    const refused = { error: 'unauthorized', detail: 'why' } as const;
    const entries = [
      attachedEntry({ type: 'device-attached', ...authenticated }, 1, 1),
      detachedEntry(
        { type: 'device-detached', ...authenticated, error: 'device_gone', detail: 'why', connectedMs: 1 },
        1,
        1,
      ),
      unansweredEntry(
        { type: 'device-unresponsive', ...authenticated, since: '2026-01-01T00:00:00.000Z', unanswered: 2 },
        1,
      ),
      refusedEntry({ type: 'connection-refused', listener: 'mqtt', remoteAddress: '192.0.2.1', ...refused }, 1, 1),
    ];
    const documented = firstColumn("the first seven are Azure's:");
    expect(new Set(documented)).toEqual(new Set(entries.flatMap(({ properties }) => Object.keys(properties))));
    expect(documented.slice(0, 7)).toEqual(Object.keys(entries[0]?.properties ?? {}).slice(0, 7));
  });

  it('has examples of configuration that a hub takes', () => {
    const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => parse(match[1] ?? '') as object);
    expect(blocks.length).toBe(2);
    const config = parseHubConfig(Object.assign({ dataDir: '/d' }, ...blocks));
    expect(config.logs).toMatchObject({ retentionDays: 30, maxBytes: 2 ** 30 });
    expect(config.diagnostics.map(({ to }) => Object.keys(to)[0])).toEqual(['file', 'stdout', 'http', 'otlp']);
  });
});
