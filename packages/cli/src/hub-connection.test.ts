import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deviceConnection, eitherConnection, type Surroundings, serviceConnection } from './hub-connection.ts';

const string = (host: string): string => `HostName=${host};SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0`;
const PEM = '-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n';
const KEY = '-----BEGIN EC PRIVATE KEY-----\nxx\n-----END EC PRIVATE KEY-----\n';

let directory: string;
let warnings: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-cli-'));
  warnings = [];
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function around(env: NodeJS.ProcessEnv = {}): Surroundings {
  return { env: { XDG_DATA_HOME: directory, ...env }, uid: 1000, home: directory, warn: (text) => warnings.push(text) };
}

function file(name: string, text: string, mode = 0o600): string {
  const path = join(directory, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

describe('serviceConnection', () => {
  it('prefers flags to the environment, and the environment to the data directory', () => {
    file('culvert/policies/service', string('data'));
    const env = { CULVERT_CONNECTION_STRING: string('environment') };
    const flags = { connectionStringFile: file('flag', `${string('flag')}\n`) };
    expect(serviceConnection(flags, 'service', around(env)).connectionString).toBe(string('flag'));
    expect(serviceConnection({}, 'service', around(env)).connectionString).toBe(string('environment'));
    expect(serviceConnection({}, 'service', around()).connectionString).toBe(string('data'));
    const dataDir = join(directory, 'culvert');
    expect(serviceConnection({ dataDir }, 'service', around(env)).connectionString).toBe(string('data'));
    expect(warnings).toEqual([]);
  });

  it('reads the policy it was asked for and the authority beside it, and goes to loopback without a proxy', () => {
    file('culvert/policies/iothubowner', string('127.0.0.1:8443'));
    file('culvert/ca.pem', PEM);
    expect(serviceConnection({}, 'iothubowner', around())).toEqual({
      connectionString: string('127.0.0.1:8443'),
      outbound: { ca: PEM, proxy: false },
    });
    const other = file('other.pem', PEM.replace('xx', 'yy'));
    const { outbound } = serviceConnection({ proxy: 'http://p:1' }, 'iothubowner', around({ CULVERT_CA_FILE: other }));
    expect(outbound).toEqual({ ca: PEM.replace('xx', 'yy'), proxy: 'http://p:1' });
  });

  it('takes a file from the environment', () => {
    const path = file('secret', string('file'));
    const { connectionString } = serviceConnection({}, 'service', around({ CULVERT_CONNECTION_STRING_FILE: path }));
    expect(connectionString).toBe(string('file'));
  });

  it('warns of a string in the process list and of a file that others may read', () => {
    serviceConnection({ connectionString: string('h') }, 'service', around());
    serviceConnection({ connectionStringFile: file('open', string('h'), 0o644) }, 'service', around());
    expect(warnings).toEqual([
      expect.stringContaining('--connection-string shows the key in process lists'),
      expect.stringContaining('chmod 600'),
    ]);
  });

  it('warns of a proxy password in the process list, without showing it', () => {
    const env = { CULVERT_CONNECTION_STRING: string('h') };
    serviceConnection({ proxy: 'http://proxy:3128' }, 'service', around(env));
    expect(warnings).toEqual([]);
    serviceConnection({ proxy: 'http://me:hush@proxy:3128' }, 'service', around(env));
    expect(warnings).toEqual([
      expect.stringMatching(/^warning: --proxy shows its password in process lists; .*HTTPS_PROXY/),
    ]);
    expect(warnings[0]).not.toContain('hush');
  });

  it.each([
    ['nothing names a hub', {}, {}, 'usage', /no hub is named/],
    ['two flags do', { connectionString: 'a', dataDir: 'b' }, {}, 'usage', /only one of/],
    [
      'two variables do',
      {},
      { CULVERT_CONNECTION_STRING: 'a', CULVERT_CONNECTION_STRING_FILE: 'b' },
      'usage',
      /set only one/,
    ],
    ['a file is missing', { connectionStringFile: '/nonexistent' }, {}, 'config_invalid', /there is no such file/],
    [
      'the data directory is not one',
      { dataDir: '/nonexistent' },
      {},
      'config_invalid',
      /no hub's data in \/nonexistent: .*--connection-string-file/,
    ],
    ['nor is that of the environment', {}, { CULVERT_DATA_DIR: '/nonexistent' }, 'config_invalid', /no hub's data in/],
  ])('says so when %s', (_what, flags, env, code, message) => {
    const run = (): unknown => serviceConnection(flags, 'service', around(env));
    expect(run).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  it('refuses a CA file that holds no certificate', () => {
    const caFile = file('ca.der', 'binary');
    const run = (): unknown => serviceConnection({ caFile }, 'service', around({ CULVERT_CONNECTION_STRING: 'x' }));
    expect(run).toThrow(/no certificate in PEM form/);
  });
});

describe('deviceConnection', () => {
  it('prefers flags, then the environment, then the file', () => {
    const own = { connectionStringFile: file('own', 'from file'), caFile: file('ca.pem', PEM), proxy: 'socks5://p:1' };
    expect(deviceConnection({}, own, around())).toEqual({
      connectionString: 'from file',
      outbound: { ca: PEM, proxy: 'socks5://p:1' },
    });
    const env = { CULVERT_DEVICE_CONNECTION_STRING: 'from environment' };
    expect(deviceConnection({}, own, around(env)).connectionString).toBe('from environment');
    expect(deviceConnection({ connectionString: 'flag' }, own, around(env)).connectionString).toBe('flag');
    expect(() => deviceConnection({}, {}, around())).toThrow(/connection string is missing/);
  });

  it('takes the gateways of the file and of the flags together, and a service those of its flags', () => {
    const own = { connectionStringFile: file('own', 'x'), gateways: ['*.gw.example'] };
    const flags = { gateway: ['other.example:8444'] };
    expect(deviceConnection(flags, own, around()).outbound).toEqual({
      gateways: ['*.gw.example', 'other.example:8444'],
    });
    const service = serviceConnection(flags, 'service', around({ CULVERT_CONNECTION_STRING: 'x' }));
    expect(service.outbound).toEqual({ gateways: ['other.example:8444'] });
  });

  it('reads the device’s own certificate and its key, by the same order', () => {
    const env = { CULVERT_DEVICE_CONNECTION_STRING: 'x', CULVERT_DEVICE_CERT_FILE: file('env.pem', `env ${PEM}`) };
    const own = { certFile: file('own.pem', `own ${PEM}`), keyFile: file('own.key', KEY) };
    expect(deviceConnection({}, own, around(env)).certificate).toEqual({ cert: `env ${PEM}`, key: KEY });
    const flags = { certFile: file('flag.pem', PEM), keyFile: file('flag.key', `flag ${KEY}`) };
    expect(deviceConnection(flags, own, around(env)).certificate).toEqual({ cert: PEM, key: `flag ${KEY}` });
    const without = deviceConnection({}, {}, around({ CULVERT_DEVICE_CONNECTION_STRING: 'x' }));
    expect(without.certificate).toBeUndefined();
    expect(warnings).toEqual([]);
  });

  it('reads them for a command that works from either side, where it turns out to be a device’s', () => {
    const own = { certFile: file('own.pem', PEM), keyFile: file('own.key', KEY) };
    const text = 'HostName=h;DeviceId=d;x509=true';
    for (const [flags, env] of [
      [{ connectionStringFile: file('device', text) }, {}],
      [{}, { CULVERT_DEVICE_CONNECTION_STRING: text }],
    ] as const) {
      const either = eitherConnection({ ...flags, ...own }, around(env));
      expect(either).toMatchObject({ side: 'device', certificate: { cert: PEM, key: KEY } });
    }
    const asService = eitherConnection(own, around({ CULVERT_CONNECTION_STRING: string('h') }));
    expect(asService.side).toBe('service');
  });

  it('refuses half a certificate, and files that hold something else; warns of a key that others may read', () => {
    const env = { CULVERT_DEVICE_CONNECTION_STRING: 'x' };
    const certFile = file('cert.pem', PEM);
    const keyFile = file('key.pem', KEY, 0o640);
    expect(() => deviceConnection({ certFile }, {}, around(env))).toThrow(/belong together/);
    expect(() => deviceConnection({ keyFile }, {}, around(env))).toThrow(/belong together/);
    const swapped = { certFile: keyFile, keyFile: certFile };
    expect(() => deviceConnection(swapped, {}, around(env))).toThrow(/key\.pem holds no certificate in PEM form$/);
    expect(() => deviceConnection({ certFile, keyFile: certFile }, {}, around(env))).toThrow(/holds no private key/);
    deviceConnection({ certFile, keyFile }, {}, around(env));
    expect(warnings).toEqual([expect.stringMatching(/^warning: others may read .*key\.pem, which holds a key/)]);
  });
});
