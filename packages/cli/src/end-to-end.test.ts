import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, connect as dial, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { deviceCertificate, ScriptedHub, startHub, type TestHub, testAuthority } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { culvert, startCulvert } from './culvert.fixture.ts';

let hub: TestHub;
let echo: Server;
let device: NodeJS.ProcessEnv;
let service: NodeJS.ProcessEnv;
const directories: string[] = [];

beforeAll(async () => {
  hub = await startHub();
  echo = createServer({ allowHalfOpen: true }, (socket) =>
    socket.on('error', () => socket.destroy()).pipe(socket),
  ).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const CULVERT_CA_FILE = join(hub.directory, 'ca.pem');
  device = { CULVERT_CA_FILE, CULVERT_DEVICE_CONNECTION_STRING: await hub.createDevice("-d$'1") };
  service = { CULVERT_CA_FILE, CULVERT_CONNECTION_STRING: await hub.policy('service') };
});

afterAll(async () => {
  await new Promise((resolve) => echo.close(resolve));
  await hub.stop();
  for (const directory of directories) await rm(directory, { recursive: true });
});

/** Writes a device's certificate, its key and the authority's certificate to files, which are removed at the end. */
async function certificateFiles(commonName: string) {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-cli-'));
  directories.push(directory);
  const authority = await testAuthority('Plant 7');
  const { cert, key, sha256 } = await deviceCertificate(commonName, { authority });
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), ca: join(directory, 'ca.pem') };
  await writeFile(files.cert, cert);
  await writeFile(files.key, key, { mode: 0o600 });
  await writeFile(files.ca, authority.certificate);
  return { directory, sha256, ...files };
}

const offered = (): string => `echo=${(echo.address() as AddressInfo).port}`;

describe('culvert', () => {
  it('administers devices', async () => {
    const flags = ['--data-dir', hub.directory];
    const created = await culvert(['device', 'create', 'press-7', ...flags, '--output', 'json']);
    expect(created.code).toBe(0);
    expect(JSON.parse(created.stdout)).toMatchObject({
      deviceId: 'press-7',
      connectionString: expect.stringMatching(
        `^HostName=127.0.0.1:${hub.port};DeviceId=press-7;SharedAccessKey=.{44}$`,
      ),
    });
    const shown = await culvert(['device', 'show', 'press-7', ...flags]);
    expect(shown.stdout).not.toContain('SharedAccessKey');
    const updated = await culvert(['device', 'update', 'press-7', ...flags, '--status', 'disabled', '--rotate-key']);
    expect(updated.stdout).toMatch(/disabled[\s\S]*SharedAccessKey=/);
    const list = await culvert(['device', 'list', ...flags, '--output', 'json']);
    expect(JSON.parse(list.stdout)).toEqual(
      expect.arrayContaining([expect.objectContaining({ deviceId: 'press-7', authentication: { type: 'sas' } })]),
    );
    expect((await culvert(['device', 'delete', 'press-7', ...flags])).code).toBe(0);
    const gone = await culvert(['device', 'show', 'press-7', ...flags]);
    expect(gone).toMatchObject({ code: 3, stderr: expect.stringMatching(/^culvert: .*not registered.*\n$/) });
    const refused = await culvert(['device', 'list'], service);
    expect(refused.code).toBe(4);
  });

  it('administers devices with certificates, and the authorities of others', async () => {
    const flags = ['--data-dir', hub.directory];
    const json = ['--output', 'json'];
    const files = await certificateFiles('pinned');
    const created = await culvert(['device', 'create', 'pinned', '--cert-file', files.cert, ...flags]);
    expect(created).toMatchObject({ code: 0, stderr: expect.stringMatching(/^culvert: warning: this hub asks .*\n$/) });
    expect(created.stdout).toContain('Authentication     self-signed\n');
    expect(created.stdout).toContain(`Thumbprint         ${files.sha256}\n`);
    expect(created.stdout).toContain(`HostName=127.0.0.1:${hub.port};DeviceId=pinned;x509=true\n`);
    // It holds no secret, so it is shown without a flag.
    expect((await culvert(['device', 'show', 'pinned', ...flags])).stdout).toBe(created.stdout);
    const rotated = await culvert(['device', 'update', 'pinned', '--rotate-key', ...flags]);
    expect(rotated).toMatchObject({ code: 2, stderr: expect.stringContaining('its authentication is self-signed') });
    const both = ['--thumbprint', files.sha256, '--thumbprint', 'AB'.repeat(32)];
    const updated = await culvert(['device', 'update', 'pinned', ...both, ...flags, ...json]);
    expect(JSON.parse(updated.stdout).authentication.x509Thumbprint).toEqual({
      primaryThumbprint: files.sha256,
      secondaryThumbprint: 'AB'.repeat(32),
    });
    const keyed = await culvert(['device', 'update', 'pinned', '--auth', 'sas', ...flags]);
    expect(keyed.stdout).toMatch(/DeviceId=pinned;SharedAccessKey=.{44}\n/);

    const added = await culvert(['ca', 'add', 'plant-7', '--file', files.ca, ...flags]);
    expect(added.stdout).toMatch(/^Name +plant-7\nSubject +CN=Plant 7\nThumbprint +[0-9A-F]{64}\nValid from/);
    const listed = await culvert(['ca', 'list', ...flags]);
    expect(listed.stdout).toMatch(/^NAME +VALID UNTIL +SUBJECT\nplant-7 +\S+Z +CN=Plant 7\n$/);
    const shown = JSON.parse((await culvert(['ca', 'show', 'plant-7', ...flags, ...json])).stdout);
    expect(shown).toMatchObject({ name: 'plant-7', certificate: expect.stringContaining('BEGIN CERTIFICATE') });
    expect((await culvert(['ca', 'remove', 'plant-7', ...flags])).code).toBe(0);
    const gone = await culvert(['ca', 'show', 'plant-7', ...flags]);
    expect(gone).toMatchObject({ code: 3, stderr: expect.stringMatching(/`culvert ca list` shows.*\n$/) });
    const key = await culvert(['ca', 'add', 'x', '--file', files.key, ...flags]);
    expect(key).toMatchObject({ code: 78, stderr: expect.stringContaining('holds no certificate') });
  });

  it('administers modules', async () => {
    const flags = ['--data-dir', hub.directory];
    const json = ['--output', 'json'];
    await hub.owner.devices.create('press-8');
    const created = await culvert(['module', 'create', 'press-8', 'camera', '--managed-by', 'vision', ...flags]);
    expect(created.code).toBe(0);
    expect(created.stdout).toMatch(/^Device +press-8\nModule +camera\nManaged by +vision\nConnection +Disconnected\n/);
    expect(created.stdout).toMatch(/DeviceId=press-8;ModuleId=camera;SharedAccessKey=.{44}\n/);
    const shown = await culvert(['module', 'show', 'press-8', 'camera', ...flags]);
    expect(shown.stdout).not.toContain('SharedAccessKey');
    await culvert(['module', 'create', 'press-8', 'arm', '--auth', 'none', ...flags]);
    const arm = JSON.parse((await culvert(['module', 'show', 'press-8', 'arm', ...flags, ...json])).stdout);
    expect(arm).toMatchObject({ moduleId: 'arm', authentication: { type: 'none' } });
    expect(arm).not.toHaveProperty('connectionString');
    const updated = await culvert(['module', 'update', 'press-8', 'camera', '--rotate-key', ...flags]);
    expect(updated).toMatchObject({ code: 0, stderr: expect.stringContaining('press-8/camera has a new key') });
    expect(updated.stdout).toContain('SharedAccessKey=');
    const list = await culvert(['module', 'list', 'press-8', ...flags]);
    expect(list.stdout).toMatch(
      /^MODULE +CONNECTION +AUTHENTICATION +MANAGED BY\narm +\S+ +none\ncamera +\S+ +sas +vision\n$/,
    );
    const plain = JSON.parse((await culvert(['module', 'list', 'press-8', ...flags, ...json])).stdout);
    expect(plain[1].authentication).toEqual({ type: 'sas' });
    expect((await culvert(['module', 'delete', 'press-8', 'camera', ...flags])).code).toBe(0);
    const gone = await culvert(['module', 'show', 'press-8', 'camera', ...flags]);
    expect(gone).toMatchObject({ code: 3, stderr: expect.stringMatching(/no such module.*`culvert module list.*\n$/) });
  });

  it('relays bytes to a module', async () => {
    const flags = ['--data-dir', hub.directory];
    await hub.owner.devices.create('press-9');
    const created = await culvert(['module', 'create', 'press-9', 'camera', ...flags, '--output', 'json']);
    const { connectionString } = JSON.parse(created.stdout);
    const env = { ...device, CULVERT_DEVICE_CONNECTION_STRING: connectionString };
    const agent = startCulvert(['agent', '--service', offered()], env);
    await agent.line(/attached to the hub/);
    const typed = await culvert(['connect', '--stdio', '--module', 'camera', 'press-9', 'echo'], service, 'typed');
    expect(typed).toMatchObject({
      code: 0,
      stdout: 'typed',
      stderr: expect.stringMatching(/^[^\n]* for the first time[^\n]*\n$/),
    });
    const unknown = await culvert(['connect', '--stdio', '--module', 'arm', 'press-9', 'echo'], service);
    expect(unknown.code).toBe(3);
    agent.child.kill('SIGINT');
    expect((await agent.ended).code).toBe(0);
  });

  it('attaches an agent by its certificate', async () => {
    const asking = await ScriptedHub.start({ requestCertificate: true });
    const files = await certificateFiles('d1');
    const ca = join(files.directory, 'hub.pem');
    const text = join(files.directory, 'device.txt');
    await writeFile(ca, asking.ca);
    await writeFile(text, `${asking.deviceConnectionString('d1', 'x509=true')}\n`, { mode: 0o600 });
    const config = join(files.directory, 'agent.yaml');
    await writeFile(
      config,
      'connectionStringFile: device.txt\ncertFile: cert.pem\nkeyFile: key.pem\ncaFile: hub.pem\n',
    );
    const agent = startCulvert(['agent', '--config', config, '--service', offered()]);
    const channel = await asking.channel();
    const connect = await channel.welcome();
    expect([channel.certificate, connect.password]).toEqual([files.sha256, undefined]);
    await agent.line(/attached to the hub/);
    agent.child.kill('SIGINT');
    expect(await agent.ended).toMatchObject({ code: 0, stderr: expect.not.stringContaining('warning') });
    const flags = [
      '--connection-string-file',
      text,
      '--ca-file',
      ca,
      '--cert-file',
      files.cert,
      '--key-file',
      files.ca,
    ];
    const wrong = await culvert(['agent', '--service', offered(), ...flags]);
    expect(wrong).toMatchObject({ code: 78, stderr: expect.stringContaining('holds no private key in PEM form') });
    await asking.stop();
  });

  it('shows policies and endpoints', async () => {
    const flags = ['--data-dir', hub.directory];
    const policy = await culvert(['policy', 'show', 'service', ...flags, '--output', 'json']);
    expect(JSON.parse(policy.stdout)).toMatchObject({ connectionString: service['CULVERT_CONNECTION_STRING'] });
    const shown = await culvert(['devicestream', 'show'], service);
    expect(JSON.parse(shown.stdout)).toMatchObject({ streamingEndpoints: [`https://127.0.0.1:${hub.port}`] });
    expect((await culvert(['policy', 'show', 'nope', ...flags])).code).toBe(3);
  });

  it('relays bytes from connect to agent, and both shut down gracefully', async () => {
    const agent = startCulvert(['agent', '--service', offered()], device);
    await agent.line(/attached to the hub/);

    const typed = await culvert(['connect', '--stdio', '--', "-d$'1", 'echo'], service, 'typed');
    expect(typed).toMatchObject({
      code: 0,
      stdout: 'typed',
      stderr: expect.stringMatching(/^[^\n]* for the first time[^\n]*\n$/),
    });
    const unknown = await culvert(['connect', '--stdio', '--', "-d$'1", 'x'], service);
    expect(unknown).toMatchObject({ code: 6, stderr: expect.stringContaining('(it offers: echo)') });

    const connect = startCulvert(['connect', '--', "-d$'1", 'echo=0'], service);
    const port = Number((await connect.line(/echo is at/)).split(':').at(-1));
    const sent = Buffer.alloc(300_000, 5);
    const received = await Promise.all(
      Array.from({ length: 10 }, () => {
        const socket = dial({ host: '127.0.0.1', port, allowHalfOpen: true });
        socket.end(sent);
        return buffer(socket);
      }),
    );
    expect(received.every((one) => one.equals(sent))).toBe(true);

    connect.child.kill('SIGTERM');
    expect((await connect.ended).code).toBe(0);
    agent.child.kill('SIGINT');
    const ended = await agent.ended;
    expect(ended.code).toBe(0);
    expect(ended.stderr).toMatch(/\[1\] echo opened to 127\.0\.0\.1:\d+ for .*service/);
    expect(ended.stderr).toMatch(/rejected a stream to 'x'/);
  });

  it('connect says at once what can never work, and waits for a device that is offline', async () => {
    const ports = ['echo=0'];
    const unknown = await culvert(['connect', 'nobody', ...ports], service);
    expect(unknown).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(/^culvert: .*not registered.*\n$/),
    });
    const wrongKey = service['CULVERT_CONNECTION_STRING']?.replace(/SharedAccessKey=.*/, 'SharedAccessKey=c2VjcmV0');
    const refused = await culvert(['connect', 'nobody', ...ports], { ...service, CULVERT_CONNECTION_STRING: wrongKey });
    expect(refused).toMatchObject({ code: 4, stderr: expect.stringMatching(/^culvert: [^\n]*\n$/) });
    const nobody = 'HostName=127.0.0.1:1;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0';
    const away = await culvert(['connect', 'nobody', ...ports], { ...service, CULVERT_CONNECTION_STRING: nobody });
    expect(away).toMatchObject({ code: 69, stderr: expect.stringMatching(/^culvert: [^\n]*127\.0\.0\.1:1[^\n]*\n$/) });
    await hub.owner.devices.create('disabled', { status: 'disabled' });
    expect(await culvert(['connect', 'disabled', ...ports], service)).toMatchObject({ code: 4 });

    await hub.createDevice('asleep');
    const waiting = startCulvert(['connect', 'asleep', ...ports], service);
    await waiting.line(/echo is at/);
    waiting.child.kill('SIGKILL');
    expect((await waiting.ended).stderr).toMatch(/^culvert: asleep is not online now/);
  });

  it('the agent says at its start which hub, which id, which services', async () => {
    const agent = startCulvert(['agent', '--service', offered(), '--service', 'ssh=22'], device);
    const line = await agent.line(/ offers /);
    expect(line).toMatch(
      new RegExp(
        `^culvert: -d\\$'1 at 127\\.0\\.0\\.1:${hub.port} offers echo \\(127\\.0\\.0\\.1:\\d+\\), ssh \\(127\\.0\\.0\\.1:22\\); its key is SHA256:\\S{43}$`,
      ),
    );
    agent.child.kill('SIGKILL');
    await agent.ended;
  });

  it('warns of a device whose certificate nobody asks for', async () => {
    const flags = ['--data-dir', hub.directory];
    const thumbprint = ['--thumbprint', 'A'.repeat(64)];
    const made = await culvert(['device', 'create', 'by-thumbprint', ...thumbprint, ...flags]);
    expect(made).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^culvert: warning: this hub asks for .*\n$/),
    });
    const module = await culvert(['module', 'create', 'by-thumbprint', 'm', '--auth', 'ca', ...flags]);
    expect(module.stderr).toMatch(/by-thumbprint\/m cannot show its own/);
  });

  it('shows the reason of a status only while it applies', async () => {
    const flags = ['--data-dir', hub.directory];
    await hub.owner.devices.create('lost', { status: 'disabled', statusReason: 'stolen' });
    expect((await culvert(['device', 'list', ...flags])).stdout).toMatch(/lost +disabled +\w+ +stolen/);
    await hub.owner.devices.update({ deviceId: 'lost', status: 'enabled' });
    expect((await culvert(['device', 'list', ...flags])).stdout).not.toContain('stolen');
    expect((await culvert(['device', 'show', 'lost', ...flags])).stdout).not.toContain('stolen');
  });

  it('ends the stream cleanly when the program that holds both pipes of --stdio has seen enough', async () => {
    const agent = startCulvert(['agent', '--service', offered()], device);
    await agent.line(/attached to the hub/);
    const connect = startCulvert(['connect', '--stdio', '--', "-d$'1", 'echo'], service);
    connect.child.stdin.write('a');
    await once(connect.child.stdout, 'data');
    connect.child.stdout.destroy();
    connect.child.stdin.end('b');
    expect(await connect.ended).toMatchObject({ code: 0, stderr: '' });
    expect(await agent.line(/echo (ended|failed)/)).toMatch(/ended by the other side/);
    agent.child.kill('SIGINT');
    await agent.ended;
  });

  it('goes on when nobody reads its messages any more', async () => {
    const agent = startCulvert(['agent', '--service', offered()], device);
    await agent.line(/attached to the hub/);
    agent.child.stderr.destroy();
    for (const text of ['one', 'two']) {
      const typed = await culvert(['connect', '--stdio', '--', "-d$'1", 'echo'], service, text);
      expect(typed).toEqual({ code: 0, stdout: text, stderr: '' });
    }
    agent.child.kill('SIGINT');
    expect((await agent.ended).code).toBe(0);
  });

  it('tells events as JSON lines', async () => {
    const agent = startCulvert(['agent', '--service', offered(), '--output', 'json'], device);
    await agent.line(/"state":"attached"/);
    agent.child.kill('SIGINT');
    const { stdout, stderr } = await agent.ended;
    expect(stderr).toBe('');
    const [first, ...others] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(first).toMatchObject({ type: 'session-key', fingerprint: expect.stringMatching(/^SHA256:/) });
    for (const event of others) expect(event).toMatchObject({ type: 'state' });
  });

  it('says what is wrong with a hub or a credential, with its exit code', async () => {
    const wrongKey = service['CULVERT_CONNECTION_STRING']?.replace(/SharedAccessKey=.*/, 'SharedAccessKey=c2VjcmV0');
    const refused = await culvert(['connect', 'd', 'x', '--stdio'], {
      ...service,
      CULVERT_CONNECTION_STRING: wrongKey,
    });
    expect(refused.code).toBe(4);
    const nobody = 'HostName=127.0.0.1:1;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0';
    const away = await culvert(['connect', 'd', 'x', '--stdio'], { ...service, CULVERT_CONNECTION_STRING: nobody });
    expect(away).toMatchObject({ code: 69, stderr: expect.stringContaining('127.0.0.1:1') });
    const untrusted = await culvert(['connect', 'd', 'x', '--stdio'], { ...service, CULVERT_CA_FILE: '' });
    expect(untrusted).toMatchObject({ code: 69, stderr: expect.stringMatching(/^culvert: .*CA.*\n$/) });
  });

  it('is interrupted with 130 and 143', async () => {
    const { owner } = hub;
    await owner.devices.create('silent');
    const interrupts = [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const;
    const seen = new Set<string>();
    for (const [signal, code] of interrupts) {
      const running = startCulvert(['connect', 'silent', 'x', '--stdio'], service);
      const asked = await hub.event(
        'stream-requested',
        (event) => event.deviceId === 'silent' && !seen.has(event.streamId),
      );
      seen.add(asked.streamId);
      running.child.kill(signal);
      expect(await running.ended).toEqual({ code, stdout: '', stderr: '' });
    }
  });
});
