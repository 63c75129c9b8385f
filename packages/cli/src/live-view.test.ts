import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial } from 'node:net';
import { join } from 'node:path';
import { DeviceClient } from '@culvert/device';
import { ServiceClient } from '@culvert/service';
import { REPORT_MS } from '@culvert/session';
import { echoOffer, FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { culvert, startCulvert } from './culvert.fixture.ts';

let hub: TestHub;
let device: DeviceClient;
let owner: NodeJS.ProcessEnv;
let monitor: NodeJS.ProcessEnv;

beforeAll(async () => {
  hub = await startHub();
  const CULVERT_CA_FILE = join(hub.directory, 'ca.pem');
  owner = { CULVERT_CA_FILE, CULVERT_CONNECTION_STRING: hub.ownerConnectionString };
  monitor = { CULVERT_CA_FILE, CULVERT_CONNECTION_STRING: await hub.policy('monitor') };
  const { outbound } = hub;
  device = DeviceClient.fromConnectionString(await hub.createDevice('press-7'), { onStream: echoOffer, outbound });
  await device.open();
});
afterAll(async () => {
  await device.close();
  await hub.stop();
});

describe('culvert', () => {
  it('lists, shows, follows and closes streams; both sides print the reason in one line', async () => {
    const follow = startCulvert(['streams', 'list', '--follow'], monitor);
    const connect = startCulvert(['connect', 'press-7', 'echo', '--stdio', '--raw'], {
      CULVERT_CA_FILE: join(hub.directory, 'ca.pem'),
      CULVERT_CONNECTION_STRING: await hub.policy('service'),
    });
    connect.child.stdin.write('hello\n');
    await connect.line(/^hello$/);
    await follow.line(/press-7 +echo +established for policy:service/);

    const listed = await culvert(['streams', 'list', '--output', 'json'], monitor);
    const [{ streamId }] = JSON.parse(listed.stdout);
    const table = await culvert(['streams', 'list', '--device', 'press-7'], monitor);
    expect(table.stdout).toMatch(/^STREAM +DEVICE +NAME +STATE/);
    expect(table.stdout).toContain(streamId);
    expect(Math.max(...table.stdout.split('\n').map((line) => line.length))).toBeLessThan(121);
    const shown = await culvert(['streams', 'show', streamId], monitor);
    expect(shown.stdout).toMatch(/To the device +6 bytes, 1 messages/);
    expect((await culvert(['streams', 'show', '0'.repeat(32)], monitor)).code).toBe(3);
    expect((await culvert(['streams', 'close', streamId], monitor)).code).toBe(4);

    const closed = await culvert(['streams', 'close', streamId, '--reason', 'lunch'], owner);
    expect(closed).toEqual({ code: 0, stdout: '', stderr: `culvert: ${streamId} was closed\n` });
    expect(await connect.ended).toEqual({
      code: 4,
      stdout: 'hello\n',
      stderr: 'culvert: An administrator closed the stream: lunch\n',
    });
    await follow.line(
      /closed_by_administrator: An administrator closed the stream: lunch 6 bytes to the device, 6 from/,
    );
    follow.child.kill('SIGTERM');
    await follow.ended;
  });

  it('shows of a device that is connected and answers nothing how many requests it left, and since when', async () => {
    const silent = DeviceClient.fromConnectionString(await hub.createDevice('press-9'), {
      onStream: () => new Promise(() => {}),
      outbound: hub.outbound,
    });
    await silent.open();
    const before = JSON.parse((await culvert(['device', 'show', 'press-9', '--output', 'json'], owner)).stdout);
    expect(before.presence.unanswered).toBeNull();
    expect(before).not.toHaveProperty('unansweredOffers');
    const wish = { name: 'echo', raw: true, connectTimeoutMs: 0, responseTimeoutMs: 1_000 };
    await expect(hub.owner.openStream('press-9', wish)).rejects.toMatchObject({ code: 'device_silent' });
    const shown = await culvert(['device', 'show', 'press-9'], owner);
    expect(shown.stdout).toMatch(/^Not answering +1 unanswered since 20\d\d-.*Z$/m);
    const listed = await culvert(['device', 'list'], owner);
    expect(listed.stdout).toMatch(/^press-9 +enabled +Connected, 1 unanswered since 20\d\d-.*Z/m);
    expect(listed.stdout).toMatch(/^press-7 +enabled +Connected *$/m);
    await silent.close();
    const after = await culvert(['device', 'show', 'press-9'], owner);
    expect(after.stdout).not.toContain('Not answering');
  });

  it('has agent and connect tell in a line why a stream was closed, over an encrypted link', async () => {
    const echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket)).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const CULVERT_CA_FILE = join(hub.directory, 'ca.pem');
    const device = { CULVERT_CA_FILE, CULVERT_DEVICE_CONNECTION_STRING: await hub.createDevice('press-8') };
    const agent = startCulvert(['agent', '--service', `echo=${(echo.address() as AddressInfo).port}`], device);
    await agent.line(/attached to the hub/);
    const connect = startCulvert(['connect', 'press-8', 'echo=0'], owner);
    const port = Number((await connect.line(/echo is at/)).split(':').at(-1));
    const socket = dial(port, '127.0.0.1').on('error', () => undefined);
    await agent.line(/echo opened/);
    const listed = await culvert(['streams', 'list', '--device', 'press-8', '--output', 'json'], monitor);
    const [stream] = JSON.parse(listed.stdout);
    expect(stream).toMatchObject({ deviceId: 'press-8', state: 'established', sessionEncrypted: true });
    await culvert(['streams', 'close', stream.streamId, '--reason', 'dinner'], owner);
    const why = /\[1\] echo failed: An administrator closed the stream: dinner$/;
    await Promise.all([agent.line(why), connect.line(why)]);
    await agent.line(/the session with policy:\S+ is over: An administrator closed the stream: dinner$/);
    await connect.line(/the session with press-8 is over: An administrator closed the stream: dinner$/);
    socket.destroy();
    for (const { child, ended } of [agent, connect]) {
      child.kill('SIGTERM');
      await ended;
    }
    await new Promise((resolve) => echo.close(resolve));
  });

  it('shows the streams of a session with its id, and its connections as claims of the ends', async () => {
    const clock = new FakeClock(Date.now());
    const { outbound } = hub;
    const ends = DeviceClient.fromConnectionString(await hub.createDevice('press-6'), {
      ...{ outbound, clock, onStream: echoOffer },
    });
    await ends.open();
    const caller = ServiceClient.fromConnectionString(await hub.policy('service'), { outbound, clock });
    const [closed, open] = [
      await caller.openStream('press-6', { name: 'echo' }),
      await caller.openStream('press-6', { name: 'echo' }),
    ];
    closed.end('hello');
    await once(closed.resume(), 'end');
    const follow = startCulvert(['streams', 'list', '--device', 'press-6', '--follow'], monitor);
    await follow.line(/press-6 +echo +established for policy:service, session [0-9a-f]{32}$/);
    await clock.advance(REPORT_MS);
    const by = (end: string) =>
      hub.event('session-reported', (of) => of.deviceId === 'press-6' && of.claimedBy === end);
    const { streamId, sessionId } = await by('device');
    await by('service');
    await follow.line(new RegExp(`^Connections of session ${sessionId}, as the service claimed at `));
    follow.child.kill('SIGTERM');

    const table = (await culvert(['streams', 'list', '--device', 'press-6'], monitor)).stdout;
    expect(table).toMatch(new RegExp(`^${streamId} .* ${sessionId.slice(0, 8)}$`, 'm'));
    expect(Math.max(...table.split('\n').map((line) => line.length))).toBeLessThan(121);
    const listed = await culvert(['streams', 'list', '--device', 'press-6', '--output', 'json'], monitor);
    expect(JSON.parse(listed.stdout)).toMatchObject([{ streamId, sessionId, sessionVersion: 1 }]);
    const shown = (await culvert(['streams', 'show', streamId], monitor)).stdout;
    expect(shown).toMatch(new RegExp(`^Session +${sessionId}, version 1, not encrypted end to end$`, 'm'));
    for (const end of ['device', 'service'])
      expect(shown).toMatch(
        new RegExp(
          `^Connections of session ${sessionId}, as the ${end} claimed at .*:\nID .*\n(3 .* open +0 +0\n1 +echo .* 5 +5|1 +echo .* 5 +5\n3 .* open +0 +0)$`,
          'm',
        ),
      );
    const inJson = JSON.parse((await culvert(['streams', 'show', streamId, '--output', 'json'], monitor)).stdout);
    expect(inJson.claims.map(({ claimedBy }: { claimedBy: string }) => claimedBy).sort()).toEqual([
      'device',
      'service',
    ]);
    const logged = (await culvert(['logs', '--device', 'press-6'], owner)).stdout;
    expect(logged).toMatch(
      new RegExp(
        `connectionClose +press-6 +ok +claim of the device: echo, 5 B sent, 5 B received, \\d+ ms, session ${sessionId}$`,
        'm',
      ),
    );
    expect(logged).toMatch(new RegExp(` invoke .* in \\d+ ms, session ${sessionId}$`, 'm'));
    const records = (await culvert(['logs', '--device', 'press-6', '--output', 'json'], owner)).stdout
      .trim()
      .split('\n');
    const claims = records
      .map((text) => JSON.parse(text))
      .filter(({ operationName }) => operationName === 'connectionClose');
    expect(claims.map(({ properties }) => JSON.parse(properties).claimedBy).sort()).toEqual(['device', 'service']);
    open.destroy();
    caller.close();
    await ends.close();
    await follow.ended;
  });

  it('shows how near the limits are', async () => {
    const { stdout } = await culvert(['limits'], monitor);
    expect(stdout).toMatch(/^LIMIT +UNIT +SET TO +USED +REACHED\nstreams +streams +20000 +\d+ +0\n/);
    expect(stdout).toMatch(/\nidleMs +ms +none +- +0\n/);
    const json = await culvert(['limits', '--output', 'json'], monitor);
    expect(JSON.parse(json.stdout)).toContainEqual({
      ...{ name: 'streamsPerDevice', unit: 'streams', limit: 1_000 },
      ...{ used: expect.any(Number), reached: 0 },
    });
  });

  it('shows with a device since when it is there and why it last went, to who may look on', async () => {
    const there = await culvert(['device', 'show', 'press-7'], owner);
    expect(there.stdout).toMatch(/\nOnline since +\d{4}-.*Z\nBy +mqtt-ws from 127\.0\.0\.1\nStreams +0\n/);
    await device.close();
    await hub.event('device-detached');
    const gone = await culvert(['device', 'show', 'press-7'], owner);
    expect(gone.stdout).toMatch(/\nConnection +Disconnected\nLast went +\d{4}-.*Z, device_gone: /);
    const json = await culvert(['device', 'show', 'press-7', '--output', 'json'], owner);
    expect(JSON.parse(json.stdout).presence).toMatchObject({ online: false, last: { error: 'device_gone' } });
    const reader = { ...owner, CULVERT_CONNECTION_STRING: await hub.policy('registryRead') };
    const plain = await culvert(['device', 'show', 'press-7'], reader);
    expect(plain.stdout).toMatch(/\nConnection +Disconnected\nAuthentication +sas\n$/);
  });
});
