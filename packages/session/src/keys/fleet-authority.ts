import { CulvertError } from '@culvert/protocol';
import { type CertificateSubject, type EndRole, isForRole, namesSubject } from './certificate-names.ts';
import type { LinkPeer } from './link-peer.ts';
import { parseAuthorities } from './pem-certificates.ts';
import { readTextFile } from './private-file.ts';

/** Maximum bytes of a file of authorities; 16 certificates have less than 64 KiB. */
const MAX_BYTES = 262_144;

/**
 * Reads the certificates of fleet authorities from a PEM file, for the context of a link.
 * @throws CulvertError `config_invalid` when there is no such file, it holds no certificate, or one that is not an authority's
 */
export async function readFleetAuthorities(path: string): Promise<string[]> {
  const text = await readTextFile(path, MAX_BYTES);
  if (text === undefined) throw new CulvertError('config_invalid', `Cannot read ${path}: there is no such file.`);
  const authorities = parseAuthorities(text, path);
  if (authorities.length > 0) return authorities;
  throw new CulvertError('config_invalid', `${path} holds no certificate in PEM form.`);
}

/** Errors of OpenSSL that an operator can mend by this advice. */
const PATH_FAULTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'or one above it has expired; renew it, or set the clock of this machine',
  CERT_NOT_YET_VALID: 'or one above it is not valid yet; set the clock of this machine',
  INVALID_PURPOSE: 'or one above it is not for this use (extended key usage, basic constraints)',
};

/**
 * Why a peer's certificate does not count, as the end of a sentence that begins with "Its certificate"; undefined when it counts: OpenSSL found a valid path to
 * an authority of the link's context, and the certificate is for this role and names this device or module.
 */
export function fleetFault(peer: LinkPeer, role: EndRole, subject: CertificateSubject): string | undefined {
  const { certificate, pathFault } = peer;
  if (certificate === undefined) return 'is missing';
  if (pathFault !== undefined) return PATH_FAULTS[pathFault] ?? `is not one of the fleet authority (${pathFault})`;
  // Whoever has the key of an authority can issue certificates, but is not a device or service by that.
  if (certificate.ca) return 'is that of an authority';
  if (!isForRole(certificate, role))
    return `is not for a ${role} (extended key usage ${role === 'device' ? 'serverAuth' : 'clientAuth'})`;
  if (!namesSubject(certificate, role, subject)) return 'does not name this device (subject alternative name)';
  return undefined;
}
