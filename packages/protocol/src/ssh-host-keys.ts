/**
 * Maximum number of host keys of one device or module, and maximum characters of all of them together. OpenSSH makes three keys, one of each
 * usual type, with about 900 characters together; a single RSA key of 16,384 bits has 2,750.
 */
export const SSH_HOST_KEY_LIMITS = { keys: 8, characters: 4_096 } as const;

/**
 * The accepted types of host keys, as in the first word of a `.pub` file. SSH certificates are not accepted: their trust comes from the
 * authority that signed them.
 */
const KEY_TYPES: ReadonlySet<string> = new Set([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
]);

/**
 * Parses a public SSH key as in `.pub` and known_hosts files, and returns it without its comment: `TYPE BASE64`. Undefined for any other
 * text, so that only keys can be written to a known_hosts file.
 */
export function parseSshHostKey(line: string): string | undefined {
  const [type = '', base64 = ''] = line.trim().split(/[ \t]+/);
  if (!KEY_TYPES.has(type) || base64.length > SSH_HOST_KEY_LIMITS.characters) return undefined;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const blob = Buffer.from(base64, 'base64');
  // RFC 4253 §6.6: the decoded key begins with the length of the type and the type itself.
  const named = blob.length > 4 + type.length && blob.readUInt32BE(0) === type.length;
  if (!named || blob.toString('latin1', 4, 4 + type.length) !== type) return undefined;
  return blob.toString('base64') === base64 ? `${type} ${base64}` : undefined;
}

/**
 * The host keys in `lines`, without duplicates and sorted by their text, so that equal sets of keys give equal lists. Empty when they exceed
 * {@link SSH_HOST_KEY_LIMITS}.
 */
export function sshHostKeysIn(lines: readonly string[]): readonly string[] {
  const keys = new Set(lines.slice(0, 4 * SSH_HOST_KEY_LIMITS.keys).flatMap((line) => parseSshHostKey(line) ?? []));
  const list = [...keys].sort();
  const { length } = list.join('\n');
  return list.length > SSH_HOST_KEY_LIMITS.keys || length > SSH_HOST_KEY_LIMITS.characters ? [] : list;
}

/** The user property of an MQTT 5 CONNECT that contains one host key; repeated for each key. */
export const SSH_HOST_KEY_PROPERTY = 'culvert-ssh-host-key';
