import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { CulvertError } from '@culvert/protocol';

/** A host name or IP address that a certificate can be issued for, in the spelling that certificates use. */
export type HostName =
  | { readonly kind: 'dns'; readonly text: string }
  | { readonly kind: 'ip'; readonly text: string; readonly bytes: Buffer };

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const DNS_NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);

/**
 * Parses a host name (the result is in lower case, with international letters as punycode) or an IP address without brackets.
 * @throws CulvertError `config_invalid`
 */
export function parseHostName(text: string): HostName {
  if (isIP(text) === 4) return { kind: 'ip', text, bytes: Buffer.from(text.split('.').map(Number)) };
  if (isIP(text) === 6 && !text.includes('%')) return ipv6(text);
  const ascii = domainToASCII(text).toLowerCase();
  if (ascii.length > 253 || !DNS_NAME.test(ascii))
    throw new CulvertError('config_invalid', `A certificate cannot be made for '${text}': it is not a host name.`);
  return { kind: 'dns', text: ascii };
}

function ipv6(text: string): HostName {
  // WHATWG URLs use the canonical form of RFC 5952, and write an embedded IPv4 address in hexadecimal as well.
  const canonical = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const groups = (part: string | undefined) => (part ? part.split(':') : []);
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array<string>(missing).fill('0'), ...groups(tail)];
  const bytes = Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
  return { kind: 'ip', text: canonical, bytes };
}

/** The names in every self-issued certificate besides the advertised ones. */
const LOCAL_NAMES = ['localhost', '127.0.0.1', '::1'];

/** The names together with {@link LOCAL_NAMES}, without duplicates. */
export function withLocalNames(names: readonly string[]): HostName[] {
  const found = new Map<string, HostName>();
  for (const name of [...names, ...LOCAL_NAMES].map(parseHostName)) found.set(name.text, name);
  return [...found.values()];
}
