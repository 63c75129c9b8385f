import { X509Certificate } from 'node:crypto';
import { type AuthenticationInput, type AuthenticationType, CulvertError, printable } from '@culvert/protocol';
import { readCertificateFile } from './secret-file.ts';

/** The names of the authentication types in `--auth`, in the order of its help. */
export const AUTHENTICATION_NAMES = {
  sas: 'sas',
  'self-signed': 'selfSigned',
  ca: 'certificateAuthority',
  none: 'none',
} as const satisfies Record<string, AuthenticationType>;

export type AuthenticationName = keyof typeof AUTHENTICATION_NAMES;

/** Flags that set how a device or module authenticates. */
export interface AuthenticationFlags {
  readonly auth?: AuthenticationName;
  readonly thumbprint?: readonly string[];
  readonly certFile?: readonly string[];
}

/** The current certificate and its successor. */
const MAX_THUMBPRINTS = 2;

/** The name of an authentication type as used in `--auth`. */
export function authenticationName(type: AuthenticationType): string {
  const found = Object.entries(AUTHENTICATION_NAMES).find(([, known]) => known === type);
  return found?.[0] ?? type;
}

/**
 * The authentication that the flags request; undefined when no flag sets any. The given thumbprints replace all earlier ones.
 * @throws CulvertError `usage` when the flags contradict each other, `config_invalid` for a file that holds no certificate
 */
export function authenticationInput(flags: AuthenticationFlags): AuthenticationInput | undefined {
  const thumbprints = [...(flags.thumbprint ?? []).map(checked), ...(flags.certFile ?? []).map(thumbprintOf)];
  if (thumbprints.length > MAX_THUMBPRINTS) {
    throw new CulvertError('usage', 'two certificates at most: the one in use and the one to follow it');
  }
  const name = flags.auth ?? (thumbprints.length > 0 ? 'self-signed' : undefined);
  if (name === undefined) return undefined;
  const type = AUTHENTICATION_NAMES[name];
  if (type !== 'selfSigned') {
    if (thumbprints.length > 0)
      throw new CulvertError('usage', `--thumbprint and --cert-file go with --auth self-signed, not with ${name}`);
    return { type };
  }
  const [primaryThumbprint, secondaryThumbprint = ''] = thumbprints;
  if (primaryThumbprint === undefined)
    throw new CulvertError('usage', '--auth self-signed needs --cert-file FILE or --thumbprint HEX');
  return { type, x509Thumbprint: { primaryThumbprint, secondaryThumbprint } };
}

function checked(text: string): string {
  const digits = text.replaceAll(':', '');
  if (/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i.test(digits)) return digits.toUpperCase();
  const is = 'the SHA-256 or SHA-1 of a certificate: 64 or 40 hexadecimal digits';
  throw new CulvertError('usage', `'${printable(text, 160)}' is not ${is}`);
}

/** SHA-256 of the first certificate in the file. If others follow, the first is the device's own. */
function thumbprintOf(file: string): string {
  const text = readCertificateFile(file);
  try {
    return new X509Certificate(text).fingerprint256.replaceAll(':', '');
  } catch (error) {
    throw new CulvertError('config_invalid', `${file} holds a certificate that cannot be read`, { cause: error });
  }
}
