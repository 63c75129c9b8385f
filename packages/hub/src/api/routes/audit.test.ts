import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AuditRecord, parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { ServiceClient } from '@culvert/service';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let test: TestHub;

const all = async (records: AsyncIterable<AuditRecord>) => {
  const list: AuditRecord[] = [];
  for await (const record of records) list.push(record);
  return list;
};
const fail = (deviceId: string, name = 'ssh') =>
  expect(test.owner.openStream(deviceId, { name, connectTimeoutMs: 0 })).rejects.toThrow();
const ended = (count: number) =>
  test.event('stream-ended', () => test.events.filter(({ type }) => type === 'stream-ended').length === count);

describe('GET /audit', () => {
  beforeEach(async () => {
    test = await startHub();
  });

  afterEach(() => test.stop());

  it('gives every stream and every change, of one device, one type, or since then', async () => {
    await test.createDevice('a');
    await test.createDevice('b');
    await fail('a');
    await fail('b', 'web');
    await ended(2);
    await test.hub.settled();
    const records = await all(test.owner.audit.list());
    expect(records.map(({ type }) => type)).toEqual([
      'log-opened',
      'registry-changed',
      'registry-changed',
      'stream-ended',
      'stream-ended',
    ]);
    expect(records[3]).toMatchObject({
      stream: { deviceId: 'a', caller: 'policy:iothubowner', cause: 'device_offline', error: 'device_offline' },
    });
    const ofB = await all(test.owner.audit.list({ device: 'b' }));
    expect(ofB.map(({ seq }) => seq)).toEqual([3, 5]);
    expect(await all(test.owner.audit.list({ device: 'b', type: 'stream-ended' }))).toHaveLength(1);
    const { at } = records[4] as AuditRecord;
    const later = new Date(Date.parse(at) + 1).toISOString();
    expect(await all(test.owner.audit.list({ since: later }))).toEqual([]);
    expect(await all(test.owner.audit.list({ until: later }))).toHaveLength(5);
  });

  it('is paged', async () => {
    for (let count = 1; count <= 4; count++) await fail('nobody');
    await ended(4);
    await test.hub.settled();
    const page = await get('/audit?limit=3');
    expect(page).toMatchObject({ records: [{ seq: 1 }, { seq: 2 }, { seq: 3 }], next: 3 });
    expect(await get('/audit?limit=3&after=3')).toEqual({ records: [expect.anything(), expect.anything()] });
  });

  it('needs the permission to monitor, and says what is wrong in a problem document', async () => {
    const service = ServiceClient.fromConnectionString(await test.policy('service'), { outbound: test.outbound });
    await expect(all(service.audit.list())).rejects.toMatchObject({ code: 'forbidden' });
    service.close();
    const monitor = ServiceClient.fromConnectionString(await test.policy('monitor'), { outbound: test.outbound });
    expect(await all(monitor.audit.list())).toHaveLength(1);
    monitor.close();
    await expect(all(test.owner.audit.list({ since: 'yesterday' }))).rejects.toMatchObject({
      code: 'argument_invalid',
    });
  });

  /** The response to the owner, as sent on the wire. */
  async function get(path: string): Promise<unknown> {
    const { host, key, policy } = parseServiceConnectionString(test.ownerConnectionString);
    const token = await signSasToken({ audience: host, key, policy, expiry: Math.ceil(Date.now() / 1_000) + 60 });
    return new Promise((resolve, reject) => {
      const options = { host, port: test.port, path, ca: test.ca, headers: { authorization: token } };
      const sent = request(options, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.on('end', () => resolve(JSON.parse(text)));
      });
      sent.on('error', reject).end();
    });
  }
});

describe('checkpoints', () => {
  it('are posted to where the configuration says, with its secret headers, over an outage of it', async () => {
    const received: string[] = [];
    const credentials = new Set<string | undefined>();
    let refusals = 1;
    const receiver = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      request.on('end', () => {
        credentials.add(request.headers.authorization);
        if (refusals-- > 0) response.writeHead(503).end();
        else {
          received.push(body);
          response.writeHead(204).end();
        }
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const { port } = receiver.address() as AddressInfo;
    const directory = mkdtempSync(join(tmpdir(), 'culvert-audit-'));
    const headersFile = join(directory, 'headers');
    writeFileSync(headersFile, 'Authorization: Bearer of-the-hub\n', { mode: 0o600 });
    const http = { url: `http://127.0.0.1:${port}/audit`, headersFile };
    const hub = await startHub({ config: { audit: { checkpointRecords: 1, checkpoints: { http } } } });
    await hub.hub.settled();
    await hub.stop();
    receiver.close();
    rmSync(directory, { recursive: true });
    expect([...credentials]).toEqual(['Bearer of-the-hub']);
    expect(received.map((line) => JSON.parse(line) as object)).toMatchObject([
      { type: 'culvert-audit-checkpoint', seq: 1, signature: expect.any(String) },
      { type: 'culvert-audit-checkpoint', seq: 2 },
    ]);
  });
});

it.each([
  [{ url: 'ftp://audit.example.com/' }, 'its url must begin with https:// or http://.'],
  [{ url: 'https://a:b@audit.example.com/' }, 'its url must hold no password: put a header into a headersFile.'],
  [
    { url: 'https://audit.example.com/', headersFile: '/nonexistent' },
    '/nonexistent cannot be read: there is no such file.',
  ],
])('a hub does not start that could not send its checkpoints to %j', async (http, why) => {
  await expect(startHub({ config: { audit: { checkpoints: { http } } } })).rejects.toMatchObject({
    ...{ code: 'config_invalid', message: `audit.checkpoints.http cannot be used: ${why}` },
  });
});

describe('audit.enabled: false', () => {
  it('keeps nothing', async () => {
    const hub = await startHub({ config: { audit: { enabled: false } } });
    await hub.createDevice('d');
    expect(await all(hub.owner.audit.list())).toEqual([]);
    await hub.stop();
  });
});
