import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readAgentConfig } from './agent-config.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-agent-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function written(text: string): string {
  const path = join(directory, 'agent.yaml');
  writeFileSync(path, text);
  return path;
}

describe('the agent’s configuration file', () => {
  it('is read with paths beside it', () => {
    const path = written(`
connectionStringFile: device.txt
certFile: device.pem
keyFile: keys/device.key
caFile: /etc/culvert/ca.pem
proxy: http://proxy:3128
sshHostKeys: [host.pub]
defaultService: ssh
services:
  ssh: 22
  web: 10.0.0.7:80
`);
    expect(readAgentConfig(path)).toEqual({
      connectionStringFile: join(directory, 'device.txt'),
      certFile: join(directory, 'device.pem'),
      keyFile: join(directory, 'keys/device.key'),
      caFile: '/etc/culvert/ca.pem',
      proxy: 'http://proxy:3128',
      sshHostKeys: [join(directory, 'host.pub')],
      defaultService: 'ssh',
      services: new Map([
        ['ssh', { host: '127.0.0.1', port: 22 }],
        ['web', { host: '10.0.0.7', port: 80 }],
      ]),
    });
  });

  it('may be empty', () => {
    expect(readAgentConfig(written('')).services.size).toBe(0);
  });

  it.each([
    ['service:\n  ssh: 22', /agent\.yaml: there is no key 'service' \(did you mean 'services'\?\)$/],
    ['zebra: 1', /agent\.yaml: there is no key 'zebra'$/],
    ['services:\n  ssh: [22]', /agent\.yaml: services\.ssh: expected HOST:PORT, or a port of this machine/],
    ['services: 22', /agent\.yaml: services: expected names with an address each/],
    ['sshHostKeys: yes', /agent\.yaml: sshHostKeys: expected a list of up to 8 \.pub files, or false/],
    ['services:\n  ssh: host', /services\.ssh: 'host' has no port/],
    ['services:\n  a/b: 22', /services\.a\/b: 'a\/b' is not a stream name/],
    ['services: {', /agent\.yaml: not YAML/],
    ['- ssh', /agent\.yaml: /],
  ])('is refused with one line: %j', (text, message) => {
    const path = written(text);
    const refused = expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(message) });
    expect(() => readAgentConfig(path)).toThrow(refused);
    expect(() => readAgentConfig(path)).not.toThrow(/\n/);
  });
});
