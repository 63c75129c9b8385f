import { CulvertError } from './errors.ts';
import { LIMITS } from './limits.ts';

/** A parsed SAS token. */
export interface SasToken {
  /** `sr` unchanged, percent-encoded or not, because the signature covers exactly these characters. */
  readonly audience: string;
  /** The bytes of the signature, decoded from `sig`. */
  readonly signature: Uint8Array;
  /** `se`: Unix time in seconds. */
  readonly expiry: number;
  /** `skn`: the policy's name. Undefined when `skn` is absent or empty: the token is then signed with the device's own key. */
  readonly policy: string | undefined;
}

const malformed = (what: string) => new CulvertError('unauthorized', `The SAS token is malformed: ${what}.`);

/**
 * Parses `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`, with the fields in any order and exactly one space after the scheme
 * (docs/protocol/07-authentication.md). Verifies neither the signature nor the expiry.
 * @throws CulvertError `unauthorized`; its message never contains the token
 */
export function parseSasToken(text: string): SasToken {
  if (text.length > LIMITS.sasTokenBytes) throw malformed('it is too long');
  const scheme = 'SharedAccessSignature ';
  if (!text.startsWith(scheme)) throw malformed("it does not begin with 'SharedAccessSignature '");
  const found = new Map<string, string>();
  for (const part of text.slice(scheme.length).split('&')) {
    const at = part.indexOf('=');
    const name = part.slice(0, at);
    if (at < 1 || !['sr', 'sig', 'se', 'skn'].includes(name)) throw malformed('it has an unknown field');
    if (found.has(name)) throw malformed(`it names ${name} twice`);
    found.set(name, part.slice(at + 1));
  }
  const audience = found.get('sr');
  const signature = found.get('sig');
  const expiry = found.get('se');
  if (!audience || !signature || !expiry) throw malformed('sr, sig and se are required');
  // The signature covers the text of `se`. A leading zero is refused because the number would lose it.
  if (!/^(0|[1-9]\d{0,14})$/.test(expiry)) throw malformed('se is not a number');
  const policy = found.get('skn');
  return {
    audience,
    signature: decodeSignature(decodeEscapes(signature)),
    expiry: Number(expiry),
    policy: policy ? decodeEscapes(policy) : undefined,
  };
}

/** The text that a SAS token's signature covers: the unchanged audience, a line feed, the expiry. */
export function sasStringToSign(token: Pick<SasToken, 'audience' | 'expiry'>): string {
  return `${token.audience}\n${token.expiry}`;
}

/**
 * Whether a token's audience covers `target` (such as `hub.example/devices/d1`): `target` is equal to the audience or below it, compared by
 * whole path segments. The first segment, the host, is compared without regard to case, the others (as ids) with regard to it. An audience
 * that contains no `/` may be percent-encoded as a whole.
 */
export function audienceCovers(audience: string, target: string): boolean {
  let plain = audience;
  if (!audience.includes('/') && audience.includes('%')) {
    try {
      plain = decodeURIComponent(audience);
    } catch {
      return false;
    }
  }
  const audienceSegments = pathSegments(plain.replace(/\/$/, ''));
  const targetSegments = pathSegments(target);
  return (
    audienceSegments.length <= targetSegments.length &&
    audienceSegments.every((segment, index) => segment === targetSegments[index])
  );
}

function pathSegments(text: string): string[] {
  const [host = '', ...path] = text.split('/');
  return [host.toLowerCase(), ...path];
}

/**
 * Makes a SAS token. `audience` is the resource that the token gives access to, such as `hub.example/devices/d1`, not yet percent-encoded.
 * @param key base64
 * @param expiry Unix time in seconds
 */
export async function signSasToken(options: {
  audience: string;
  key: string;
  expiry: number;
  policy?: string;
}): Promise<string> {
  const audience = encodeURIComponent(options.audience);
  const { subtle } = globalThis.crypto;
  const key = await subtle.importKey('raw', decodeBase64(options.key), { name: 'HMAC', hash: 'SHA-256' }, false, [
    'sign',
  ]);
  const text = new TextEncoder().encode(sasStringToSign({ audience, expiry: options.expiry }));
  const signature = new Uint8Array(await subtle.sign('HMAC', key, text));
  const encoded = encodeURIComponent(btoa(String.fromCharCode(...signature)));
  const policy = options.policy === undefined ? '' : `&skn=${encodeURIComponent(options.policy)}`;
  return `SharedAccessSignature sr=${audience}&sig=${encoded}&se=${options.expiry}${policy}`;
}

function decodeEscapes(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed('it has a broken percent escape');
  }
}

/** Accepts only canonical base64, because Azure compares signatures as text. */
function decodeSignature(text: string): Uint8Array {
  const bytes = decodeBase64(text);
  if (btoa(String.fromCharCode(...bytes)) !== text) throw malformed('its signature is not base64');
  return bytes;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw malformed('its signature is not base64');
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw malformed('its signature is not base64');
  }
}
