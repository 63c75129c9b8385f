import { describe, expect, it } from 'vitest';
import { parseSshHostKey, SSH_HOST_KEY_LIMITS, sshHostKeysIn } from './ssh-host-keys.ts';

function key(type: string, bytes: number, fill = 7): string {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return `${type} ${Buffer.concat([length, Buffer.from(type), Buffer.alloc(bytes, fill)]).toString('base64')}`;
}

describe('SSH host keys', () => {
  it('are read as .pub files hold them, without their comment', () => {
    const ed25519 = key('ssh-ed25519', 36);
    expect(parseSshHostKey(`${ed25519} root@pi with a comment\n`)).toBe(ed25519);
    expect(parseSshHostKey(key('ssh-rsa', 535))).toBe(key('ssh-rsa', 535));
  });

  it.each([
    '',
    'ssh-ed25519',
    'ssh-ed25519 AAAA',
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5!',
    `* ${key('ssh-ed25519', 36)}`,
    `@cert-authority ${key('ssh-ed25519', 36)}`,
    key('ssh-ed25519-cert-v01@openssh.com', 36),
    key('ssh-ed25519', 36).replace('ssh-ed25519', 'ssh-rsa'),
    key('ssh-rsa', SSH_HOST_KEY_LIMITS.characters),
  ])('%s is none', (line) => {
    expect(parseSshHostKey(line)).toBeUndefined();
  });

  it('are a list that is the same for the same keys, and bounded', () => {
    const [a, b] = [key('ssh-ed25519', 36, 1), key('ssh-ed25519', 36, 2)];
    expect(sshHostKeysIn([b, a, `${b} again`, 'nothing'])).toEqual(sshHostKeysIn([a, b]));
    expect(sshHostKeysIn([a, b])).toEqual([a, b].sort());
    const many = Array.from({ length: SSH_HOST_KEY_LIMITS.keys + 1 }, (_, n) => key('ssh-ed25519', 36, n));
    expect(sshHostKeysIn(many)).toEqual([]);
    expect(sshHostKeysIn(Array.from({ length: 5 }, (_, n) => key('ssh-rsa', 1_030, n)))).toEqual([]);
  });
});
