import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deviceIds } from './device-id.fixture.ts';
import { hostName, identityOfHost } from './host-name.ts';
import { proxyCommand } from './proxy-command.ts';
import { shellQuote } from './shell-quote.ts';

/** A ProxyCommand as ssh expands it before it passes it to the shell (`percent_expand`). */
function sshExpands(command: string, typed: string): string {
  return command.replace(/%(.)/g, (_, token: string) => (token === '%' ? '%' : token === 'n' ? typed : `<${token}>`));
}

const ASKING = { mode: 'ask', knownHosts: "/h o/100%/it's" } as const;
const TAKING = { mode: 'accept-new', knownHosts: '/k' } as const;

describe('quoting', () => {
  it('hands any device id through a shell unchanged', () => {
    const ids = ['-rf', "a'b", '$(touch x)', ';ls', "''", '%h', ...fc.sample(deviceIds, 300)];
    const script = `printf '%s\\n' ${ids.map(shellQuote).join(' ')}`;
    expect(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).split('\n').slice(0, -1)).toEqual(ids);
  });

  it('brings any device id through ssh and a shell to the program', () => {
    const ids = ['-rf', "a'b", '$1', '~', '%n', ...fc.sample(deviceIds, 100)].filter((id) => id !== '~');
    const flags = { caFile: "/a b/100%/it's $HOME.pem" };
    const program = ["/opt/no de/bin/node's", '/100%n/culvert.js'];
    for (const id of ids) {
      const command = sshExpands(proxyCommand(hostName({ deviceId: id }), flags, ASKING, program), 'typed');
      expect(command).not.toMatch(/<.>/);
    }
    const commands = ids.map((id) =>
      sshExpands(proxyCommand(hostName({ deviceId: id }), flags, ASKING, program), 'typed'),
    );
    const script = commands.map((command) => `printf '%s\\n' ${command}`).join('\n');
    const lines = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).split('\n').slice(0, -1);
    expect(lines).toEqual(
      ids.flatMap((id) => [
        ...program,
        'connect',
        `--ca-file=${flags.caFile}`,
        '--host-keys=ask',
        `--known-hosts=${ASKING.knownHosts}`,
        `--ssh-host=${hostName({ deviceId: id })}`,
      ]),
    );
  });

  it('leaves the host to ssh where it is asked to', () => {
    expect(proxyCommand('%n', {}, TAKING, ['/n', '/c'])).toBe("'/n' '/c' 'connect' '--ssh-host=%n'");
    expect(proxyCommand('%n', { dataDir: '/d%d' }, TAKING, ['/n'])).toBe(
      "'/n' 'connect' '--data-dir=/d%%d' '--ssh-host=%n'",
    );
  });
});

describe('hostName', () => {
  it('is one harmless lower-case word, and reversible', () => {
    fc.assert(
      fc.property(deviceIds, (id) => {
        const host = hostName({ deviceId: id });
        expect(host).toMatch(/^[a-z0-9_~][a-z0-9._~-]*\.culvert$/);
        expect(identityOfHost(host)).toEqual({ deviceId: id });
      }),
    );
  });

  it('accepts what people type', () => {
    expect(hostName({ deviceId: 'press-7' })).toBe('press-7.culvert');
    expect(hostName({ deviceId: '-Pi;$1' })).toBe('~2d~50i~3b~241.culvert');
    expect(identityOfHost('Press-7.culvert')).toEqual({ deviceId: 'Press-7' });
    expect(identityOfHost('a.b.CULVERT')).toEqual({ deviceId: 'a.b' });
    const camera = { deviceId: 'Pi;1', moduleId: '-Cam.2' };
    expect(hostName(camera)).toBe('~50i~3b1~2f-~43am.2.culvert');
    expect(identityOfHost(hostName(camera))).toEqual(camera);
    expect(identityOfHost('d~2Fm.culvert')).toEqual({ deviceId: 'd', moduleId: 'm' });
    for (const wrong of [
      'press-7',
      '.culvert',
      '~2.culvert',
      '~zz.culvert',
      '~0a.culvert',
      '..culvert',
      '~2f.culvert',
    ]) {
      expect(() => identityOfHost(wrong), wrong).toThrow(expect.objectContaining({ code: 'usage' }));
    }
  });
});
