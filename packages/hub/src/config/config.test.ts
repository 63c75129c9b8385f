import { mkdtempSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  advertisedNames,
  certificateListeners,
  parseHubConfig,
  parseListen,
  proxiedListeners,
  resolveHubConfig,
} from './config.ts';

function file(text: string): string {
  const name = join(mkdtempSync(join(tmpdir(), 'culvert-config-')), 'hub.yaml');
  writeFileSync(name, text);
  return name;
}

describe('the configuration', () => {
  it('takes flags before environment before file before defaults', () => {
    const config = file('listen: 127.0.0.1:1\nadminListen: 127.0.0.1:2\ndataDir: /from/file\nlog: { level: warn }\n');
    const env = { CULVERT_ADMIN_LISTEN: '127.0.0.1:3', CULVERT_LISTEN: '127.0.0.1:4', CULVERT_LOG_FORMAT: 'json' };
    const resolved = resolveHubConfig({ config, listen: '127.0.0.1:5' }, env, '/default');
    expect(resolved).toMatchObject({
      listen: '127.0.0.1:5',
      adminListen: '127.0.0.1:3',
      dataDir: '/from/file',
      log: { level: 'warn', format: 'json' },
      limits: { offersPerDevice: 64 },
    });
    expect(resolveHubConfig({}, {}, '/default').dataDir).toBe('/default');
    const listeners = resolveHubConfig({ mqttListen: ':8883' }, { CULVERT_AMQP_LISTEN: ':5671' }, '/default');
    expect(listeners).toMatchObject({ mqttListen: ':8883', amqpListen: ':5671' });
  });

  it.each([
    ['an unknown key', 'lisen: 1\n', /lisen/],
    ['a bound of no time, which would end every stream', 'limits: { stallMs: 0 }\n', /limits\.stallMs/],
    ['an unknown limit', 'limits: { offers: 1 }\n', /limits.*offers/],
    ['a wrong type', 'advertise: hub\n', /advertise/],
    ['a port out of range', 'listen: 127.0.0.1:70000\n', /listen.*HOST:PORT/],
    ['a list', '- a\n', /keys and values/],
    ['no YAML', 'a: [\n', /not YAML/],
  ])('refuses %s in one line', (_what, text, message) => {
    const refused = () => resolveHubConfig({ config: file(text), dataDir: '/d' }, {}, '/default');
    expect(refused).toThrow(message);
    expect(refused).toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.not.stringContaining('\n') }),
    );
  });

  it('names the file where the mistake is in it, and not where a flag has one', () => {
    const config = file('listn: ":443"\n');
    expect(() => resolveHubConfig({ config, dataDir: '/d' }, {}, '/default')).toThrow(
      `The configuration file ${config} is invalid: there is no key 'listn'`,
    );
    const flags = { config: file('advertise: [h]\n'), gatewayThreads: 'many' };
    expect(() => resolveHubConfig(flags, {}, '/default')).toThrow(/^The configuration is invalid: gatewayThreads: /);
  });

  it('refuses a file that is not there, and a certificate without a key', () => {
    expect(() => resolveHubConfig({ config: '/nowhere/hub.yaml' }, {}, '/d')).toThrow(
      /^The configuration file \/nowhere\/hub\.yaml cannot be read: there is no such file\.$/,
    );
    expect(() => resolveHubConfig({ tlsCert: 'a.pem' }, {}, '/d')).toThrow(/together/);
  });

  it('reads where to listen', () => {
    expect(parseListen('listen', ':8443')).toEqual({ host: undefined, port: 8443 });
    expect(parseListen('listen', '8443')).toEqual({ host: undefined, port: 8443 });
    expect(parseListen('listen', '[::1]:443')).toEqual({ host: '::1', port: 443 });
    expect(() => parseListen('listen', 'hub')).toThrow(/HOST:PORT/);
  });

  it('advertises the listening host, this machine’s name, or what it is told', () => {
    const names = (over: object) => advertisedNames(parseHubConfig({ dataDir: '/d', ...over }), 8443);
    expect(names({ listen: '127.0.0.1:0' })).toEqual([{ host: '127.0.0.1', port: 8443 }]);
    expect(names({})).toEqual([{ host: hostname(), port: 8443 }]);
    expect(names({ advertise: ['hub.example:443', 'other.example'] })).toEqual([
      { host: 'hub.example', port: 443 },
      { host: 'other.example', port: 8443 },
    ]);
  });

  describe('of load balancers that speak the PROXY protocol', () => {
    const proxied = (proxyProtocol: string[], proxyProtocolFrom: string[], over: object = {}) =>
      proxiedListeners(parseHubConfig({ dataDir: '/d', proxyProtocol, proxyProtocolFrom, ...over }));

    it('is nowhere unless it says so', () => {
      expect(proxiedListeners(parseHubConfig({ dataDir: '/d' }))).toEqual({ listeners: new Set(), from: [] });
    });

    it('takes listeners and networks', () => {
      const over = { mqttListen: ':8883', gatewayThreads: 2, gatewayListen: ':8445' };
      const { listeners, from } = proxied(['listen', 'mqttListen', 'gatewayListen'], ['192.0.2.0/24', '::1'], over);
      expect([[...listeners], from]).toEqual([
        ['listen', 'mqttListen', 'gatewayListen'],
        ['192.0.2.0/24', '::1'],
      ]);
    });

    it.each<[string, string[], string[], RegExp]>([
      ['a listener there is not', ['amqpListen'], ['::1'], /^proxyProtocol: there is no listener 'amqpListen'\.$/],
      ['the listener of probes', ['adminListen'], ['::1'], /^proxyProtocol: 'adminListen' is none of listen, /],
      ['no networks', ['listen'], [], /^proxyProtocol needs proxyProtocolFrom/],
      ['networks without listeners', [], ['::1'], /^proxyProtocolFrom is for listeners/],
      ['a name for a network', ['listen'], ['lb.example'], /^proxyProtocolFrom: 'lb\.example' is neither/],
    ])('refuses %s', (_what, listeners, from, message) => {
      expect(() => proxied(listeners, from)).toThrow(message);
      expect(() => proxied(listeners, from)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    });

    it('comes by flag or environment', () => {
      const env = { CULVERT_PROXY_PROTOCOL: 'listen', CULVERT_PROXY_PROTOCOL_FROM: '192.0.2.1, 192.0.2.2' };
      const told = (flags: object) => {
        const { proxyProtocol, proxyProtocolFrom } = resolveHubConfig(flags, env, '/d');
        return [proxyProtocol, proxyProtocolFrom];
      };
      expect(told({})).toEqual([['listen'], ['192.0.2.1', '192.0.2.2']]);
      expect(told({ proxyProtocolFrom: ['::1'] })).toEqual([['listen'], ['::1']]);
    });
  });

  describe('of where clients are asked for a certificate', () => {
    const parsed = (clientCertificates: string[], over: object = {}) =>
      certificateListeners(
        parseHubConfig({
          dataDir: '/d',
          advertise: ['hub.example', 'Müller.example:443'],
          clientCertificates,
          ...over,
        }),
      );

    it('is nowhere unless it says so', () => {
      expect(certificateListeners(parseHubConfig({ dataDir: '/d' }))).toEqual({
        listeners: new Set(),
        hosts: new Set(),
      });
    });

    it('takes listeners and advertised names, as clients write them', () => {
      const { listeners, hosts } = parsed(['mqttListen', 'HUB.example', 'müller.example'], { mqttListen: ':8883' });
      expect([[...listeners], [...hosts]]).toEqual([['mqttListen'], ['hub.example', 'xn--mller-kva.example']]);
      expect([...parsed(['listen']).listeners]).toEqual(['listen']);
    });

    it.each([
      ['a listener there is not', ['mqttListen'], /^clientCertificates: there is no listener 'mqttListen'\.$/],
      ['a name nobody is told', ['other.example'], /'other\.example' is neither .* nor an advertised host name/],
      ['the listener of probes', ['adminListen'], /'adminListen' is neither/],
      ['an address', ['192.0.2.1'], /'192\.0\.2\.1' is an address.*'listen'/],
      ['nothing', [''], /neither/],
    ])('refuses %s', (_what, entries, message) => {
      expect(() => parsed(entries)).toThrow(message);
      expect(() => parsed(entries)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    });

    it('comes by flag or environment', () => {
      const config = file('advertise: [hub.example]\nclientCertificates: [listen]\n');
      const env = { CULVERT_CLIENT_CERTIFICATES: 'listen, hub.example,' };
      const asked = (flags: object, env: NodeJS.ProcessEnv) =>
        resolveHubConfig({ config, ...flags }, env, '/d').clientCertificates;
      expect(asked({}, {})).toEqual(['listen']);
      expect(asked({}, env)).toEqual(['listen', 'hub.example']);
      expect(asked({ clientCertificates: ['hub.example'] }, env)).toEqual(['hub.example']);
    });
  });
});
