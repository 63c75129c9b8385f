import { CulvertError, type Identity, identityName, parseDeviceId, parseModuleId, printable } from '@culvert/protocol';

/** The suffix of the host names in `ssh DEVICE.culvert` and in the stored host keys of `culvert ssh`. */
export const HOST_SUFFIX = '.culvert';

/** The escape character. Device ids cannot hold `~`, and `~` is special neither to ssh nor, inside a word, to shells. */
const ESCAPE = '~';

/**
 * A device's or module's name as an ssh host name. Lower-case letters, digits and `-`, `.`, `_` stay as they are, except a leading `-` or `.`.
 * Every other character, also the `/` between device and module, becomes `~` and two hexadecimal digits. The result is one word in any shell and
 * no option of ssh, and stays unique per identity when ssh converts it to lower case: `-Pi;$1` is `~2d~50i~3b~241.culvert`.
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
 * The device or module of an ssh host name: the inverse of {@link hostName}. It also accepts names typed by hand (`ssh Pi-7.culvert`), whose
 * characters are not all escaped.
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
  // No id can hold a slash.
  const at = name.indexOf('/');
  try {
    if (at < 0) return { deviceId: parseDeviceId(name) };
    return { deviceId: parseDeviceId(name.slice(0, at)), moduleId: parseModuleId(name.slice(at + 1)) };
  } catch (error) {
    throw new CulvertError('usage', CulvertError.from(error).message, { cause: error });
  }
}
