import { CulvertError, type Identity, identityName, parseDeviceId, parseModuleId, printable } from '@culvert/protocol';

/** What `ssh DEVICE.culvert` and the host keys of `culvert ssh` have in common. */
export const HOST_SUFFIX = '.culvert';

/** `~` is not in the alphabet of device ids, and neither shells (inside a word) nor ssh give it a meaning. */
const ESCAPE = '~';

/**
 * A device's or module's name as an ssh host. Lower-case letters, digits and `-`, `.`, `_` stand for themselves, except a leading `-` or
 * `.`; every other character is `~` and its two hexadecimal digits, also the `/` between device and module. So it is one word of any
 * shell, no option of ssh, and still one name per identity after ssh has made it lower-case: `-Pi;$1` is `~2d~50i~3b~241.culvert`.
 */
export function hostName(identity: Identity): string {
  const { deviceId, moduleId } = identity;
  parseDeviceId(deviceId);
  if (moduleId !== undefined) parseModuleId(moduleId);
  const encoded = identityName(identity).replace(/^[-.]|[^a-z0-9\-._]/g, (character) => escaped(character));
  return `${encoded}${HOST_SUFFIX}`;
}

function escaped(character: string): string {
  return `${ESCAPE}${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

/**
 * The device or module an ssh host stands for: {@link hostName} backwards, and as typed by hand (`ssh Pi-7.culvert`), where characters
 * that need no escape may stand for themselves.
 * @throws CulvertError `usage`
 */
export function identityOfHost(host: string): Identity {
  if (!host.toLowerCase().endsWith(HOST_SUFFIX)) {
    throw new CulvertError('usage', `'${printable(host)}' is not DEVICE${HOST_SUFFIX}`);
  }
  const encoded = host.slice(0, -HOST_SUFFIX.length);
  if (/~(?![0-9a-f]{2})/i.test(encoded)) {
    throw new CulvertError('usage', `'${printable(host)}' has a ~ without two hexadecimal digits`);
  }
  const name = encoded.replace(/~([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(parseInt(digits, 16)));
  // No id holds a slash.
  const at = name.indexOf('/');
  try {
    if (at < 0) return { deviceId: parseDeviceId(name) };
    return { deviceId: parseDeviceId(name.slice(0, at)), moduleId: parseModuleId(name.slice(at + 1)) };
  } catch (error) {
    throw new CulvertError('usage', CulvertError.from(error).message, { cause: error });
  }
}
