import type { X509Certificate } from 'node:crypto';
import { formatAuthority, type Identity, parseHostPort } from '@culvert/protocol';

/** What an end is in the session; a fleet authority issues a certificate for one of the two. */
export type EndRole = 'device' | 'service';

/** `id-kp-serverAuth` and `id-kp-clientAuth` (RFC 5280 §4.2.1.12): the device is the TLS server. */
const USES: Readonly<Record<EndRole, string>> = { device: '1.3.6.1.5.5.7.3.1', service: '1.3.6.1.5.5.7.3.2' };

/** One entry of `X509Certificate.subjectAltName`: `TYPE:VALUE`, where a value with special characters is a JSON string. */
const ALTERNATIVE_NAME = /([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

/** `culvert:/devices/DEVICE[/modules/MODULE]`, or with a hub `culvert://HUB/devices/…`; ids are percent-encoded. */
const NAME = /^culvert:(?:\/\/([^/]*))?\/devices\/([^/]+)(?:\/modules\/([^/]+))?$/;

/** The device or module that an end's certificate must name. */
export interface CertificateSubject {
  /** The hub as in connection strings: `HOST` or `HOST:PORT`. A certificate may name it by its host. */
  readonly hub: string;
  readonly identity: Identity;
}

/** Whether a certificate says that it is for this role (extended key usage). A certificate that says nothing of its uses is for none. */
export function isForRole(certificate: X509Certificate, role: EndRole): boolean {
  // Node's name for the extended key usage is `keyUsage`.
  return certificate.keyUsage?.includes(USES[role]) ?? false;
}

/**
 * Whether one of a certificate's URIs (subject alternative name) names the device or module: `culvert:/devices/DEVICE` or
 * `culvert:/devices/DEVICE/modules/MODULE` at any hub, `culvert://HUB/devices/…` at that hub. In the certificate of a service, `*` in place of an id
 * stands for any; it names the devices that the service may open sessions to.
 */
export function namesSubject(certificate: X509Certificate, role: EndRole, subject: CertificateSubject): boolean {
  return uris(certificate.subjectAltName ?? '').some((uri) => matches(uri, role, subject));
}

function matches(uri: string, role: EndRole, { hub, identity }: CertificateSubject): boolean {
  const [, host, device = '', module] = NAME.exec(uri) ?? [];
  // RFC 5280 §4.2.1.6: the host of a URI is compared without regard to case.
  if (host !== undefined && host.toLowerCase() !== hostOf(hub)) return false;
  const matchesId = (segment: string | undefined, id: string | undefined): boolean =>
    segment === undefined || id === undefined
      ? segment === id
      : (role === 'service' && segment === '*') || decoded(segment) === id;
  return device !== '' && matchesId(device, identity.deviceId) && matchesId(module, identity.moduleId);
}

/** As in a URI, without the port: an IPv6 address is in brackets. */
function hostOf(hub: string): string {
  return formatAuthority(parseHostPort(hub, 443).host, 443).toLowerCase();
}

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

/** The URIs in the text; none when a part of the text cannot be read. */
function uris(text: string): string[] {
  const found: string[] = [];
  ALTERNATIVE_NAME.lastIndex = 0;
  while (ALTERNATIVE_NAME.lastIndex < text.length) {
    const [, type, value = ''] = ALTERNATIVE_NAME.exec(text) ?? [];
    if (type === undefined) return [];
    if (type === 'URI') found.push(value.startsWith('"') ? String(JSON.parse(value)) : value);
  }
  return found;
}
