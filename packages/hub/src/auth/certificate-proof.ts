import { CulvertError } from '@culvert/protocol';
import type { IdentityRecord } from '../registry/registry.ts';
import type { ClientCertificate } from './client-certificate.ts';
import type { Proof, RegisteredIdentity } from './principal.ts';

/** `id-kp-clientAuth` (RFC 5280 §4.2.1.12). */
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2';

/**
 * What a certificate proves of the identity in `record`.
 * @throws CulvertError `unauthorized`, with what is wrong with the certificate but not with what is registered
 */
export function certificateProof(
  certificate: ClientCertificate,
  record: IdentityRecord,
  { now, owner }: { now: number; owner: RegisteredIdentity },
): Proof {
  const { authentication } = record;
  if (now < certificate.notBefore) throw refused('The certificate is not valid yet.');
  if (now > certificate.notAfter) throw refused('The certificate has expired.');
  if (authentication.type === 'selfSigned') {
    // The thumbprint pins this very certificate, so a use that it does not name is not asked for; one that excludes this is heard.
    if (certificate.usages !== undefined) assertClientUse(certificate);
    const { sha1, sha256 } = certificate;
    if (!matchesThumbprint(authentication, certificate)) throw new CulvertError('unauthorized');
    return { kind: 'thumbprint', owner, sha1, sha256 };
  }
  if (authentication.type === 'certificateAuthority') {
    assertClientUse(certificate);
    if (certificate.authority === undefined) {
      throw refused('No registered certificate authority vouches for the certificate.');
    }
    if (certificate.commonName !== record.deviceId)
      throw refused("The certificate's common name is not the device id.");
    return { kind: 'authority', owner, authority: certificate.authority };
  }
  throw new CulvertError('unauthorized');
}

/** Whether one of the two registered thumbprints is the certificate's, in either form. They are no secret: anyone may see a certificate. */
export function matchesThumbprint(
  registered: { readonly primaryThumbprint: string; readonly secondaryThumbprint: string },
  certificate: { readonly sha1: string; readonly sha256: string },
): boolean {
  return [registered.primaryThumbprint, registered.secondaryThumbprint].some(
    (thumbprint) => thumbprint !== '' && (thumbprint === certificate.sha1 || thumbprint === certificate.sha256),
  );
}

function assertClientUse({ usages }: ClientCertificate): void {
  if (usages?.includes(CLIENT_AUTHENTICATION)) return;
  throw refused('The certificate is not made for client authentication (extended key usage).');
}

function refused(detail: string): CulvertError {
  return new CulvertError('unauthorized', detail);
}
