/**
 * Host keys of one device or module: OpenSSH makes three, one of each usual type. Characters of all of them together: three usual ones have
 * about 900, an RSA key of 16,384 bits alone 2,750.
 */
export const SSH_HOST_KEY_LIMITS = { keys: 8, characters: 4_096 } as const;

/** The types of key an SSH server may show, as the first word of a `.pub` file. Certificates are none: an authority stands behind those. */
const KEY_TYPES: ReadonlySet<string> = new Set([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
]);

/**
 * A public SSH key as `.pub` files and known_hosts hold it, without its comment: `TYPE BASE64`. Undefined for what is none, so that nothing
 * else can come into a known_hosts file.
 */
export function parseSshHostKey(line: string): string | undefined {
  const [type = '', base64 = ''] = line.trim().split(/[ \t]+/);
  if (!KEY_TYPES.has(type) || base64.length > SSH_HOST_KEY_LIMITS.characters) return undefined;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const blob = Buffer.from(base64, 'base64');
  // RFC 4253 §6.6: the type once more, with its length before it.
  const named = blob.length > 4 + type.length && blob.readUInt32BE(0) === type.length;
  if (!named || blob.toString('latin1', 4, 4 + type.length) !== type) return undefined;
  return blob.toString('base64') === base64 ? `${type} ${base64}` : undefined;
}

/**
 * The host keys among `lines`, each once, in the order of their text, so that the same keys are always the same list. Empty when they are
 * more than {@link SSH_HOST_KEY_LIMITS} allows.
 */
export function sshHostKeysIn(lines: readonly string[]): readonly string[] {
  const keys = new Set(lines.slice(0, 4 * SSH_HOST_KEY_LIMITS.keys).flatMap((line) => parseSshHostKey(line) ?? []));
  const list = [...keys].sort();
  const { length } = list.join('\n');
  return list.length > SSH_HOST_KEY_LIMITS.keys || length > SSH_HOST_KEY_LIMITS.characters ? [] : list;
}

/** The user property of an MQTT 5 CONNECT that names one host key; repeated for each. */
export const SSH_HOST_KEY_PROPERTY = 'culvert-ssh-host-key';
