import type { X509Certificate } from 'node:crypto';
import { CulvertError, type Identity, identityName } from '@culvert/protocol';
import type { Authentication } from '../registry/registry.ts';
import { findTrustAnchors, type TrustAnchor } from './certificate-path.ts';
import { certificateExpiry, clientFault, clientUseFault, lifeFault } from './certificate-rules.ts';
import { type ClientCertificate, thumbprint } from './client-certificate.ts';
import type { Proof } from './principal.ts';

// A certificate is always compared with the thumbprints first and then verified against the authorities, whatever is registered for the identity. So the
// message of a refusal, and the time it takes, depend on the certificate, the authorities and the claimed name, but not on whether the identity exists or
// how it authenticates.

/** How a certificate proves an identity, without the identity itself, and when the proof expires, in milliseconds since the epoch. */
export interface CertificateProof<Kind extends Proof['kind'] = 'thumbprint' | 'authority'> {
  readonly proof: Omit<Extract<Proof, { kind: Kind }>, 'owner'>;
  readonly expiresAt: number;
}

/**
 * The proof that a certificate gives by its thumbprint; undefined when the thumbprint is not registered for the identity.
 * @param authentication the registered authentication of the claimed identity; undefined when the identity is not registered
 * @throws CulvertError `unauthorized` when the certificate is not valid now, or is only for other uses than client authentication
 */
export function thumbprintProof(
  shown: ClientCertificate,
  authentication: Authentication | undefined,
  now: number,
): CertificateProof<'thumbprint'> | undefined {
  const { certificate, sha1, sha256 } = shown;
  refuseIf(lifeFault(certificate, now));
  if (authentication?.type !== 'selfSigned' || !matchesThumbprint(authentication, shown)) return undefined;
  // The thumbprint identifies exactly this certificate, so it needs no extended key usage; but one that excludes client authentication is respected.
  if (certificate.keyUsage !== undefined) refuseIf(clientUseFault(certificate));
  return { proof: { kind: 'thumbprint', sha1, sha256 }, expiresAt: certificateExpiry(certificate) };
}

/** The values against which a certificate without a registered thumbprint is verified. */
export interface AuthorityOptions {
  /** The identity that the client claims. */
  readonly identity: Identity;
  /** The registered authentication of that identity; undefined when the identity is not registered. */
  readonly authentication: Authentication | undefined;
  /** The registered authorities. */
  readonly authorities: readonly X509Certificate[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * The proof that a certificate, valid now, gives through the registered authorities that have issued it.
 * @throws CulvertError `unauthorized`
 */
export function authorityProof(
  { certificate, sent, commonName }: ClientCertificate,
  { identity, authentication, authorities, now }: AuthorityOptions,
): CertificateProof<'authority'> {
  const anchors = findTrustAnchors(certificate, { sent, authorities, now });
  if (anchors.length === 0) refuseIf('is not registered, and no registered certificate authority vouches for it');
  refuseIf(clientUseFault(certificate) ?? clientFault(certificate));
  if (commonName !== identityName(identity)) {
    const name = identity.moduleId === undefined ? 'the device id' : 'DEVICE/MODULE';
    refuseIf(`is not for this name: its common name is not ${name}`);
  }
  if (authentication?.type !== 'certificateAuthority') throw new CulvertError('unauthorized');
  return { proof: { kind: 'authority', authorities: anchors.map(thumbprintOf) }, expiresAt: earliest(anchors) };
}

/** Whether one of the two registered thumbprints is the certificate's SHA-1 or SHA-256. Thumbprints are not secret: anyone may see a certificate. */
export function matchesThumbprint(
  registered: { readonly primaryThumbprint: string; readonly secondaryThumbprint: string },
  certificate: { readonly sha1: string; readonly sha256: string },
): boolean {
  return [registered.primaryThumbprint, registered.secondaryThumbprint].some(
    (thumbprint) => thumbprint !== '' && (thumbprint === certificate.sha1 || thumbprint === certificate.sha256),
  );
}

function thumbprintOf({ authority }: TrustAnchor): string {
  return thumbprint(authority.fingerprint256);
}

/** The earliest expiry: the channel must not outlive any of the paths that may have authenticated it. */
function earliest(anchors: readonly TrustAnchor[]): number {
  return Math.min(...anchors.map(({ until }) => until));
}

function refuseIf(fault: string | undefined): void {
  if (fault !== undefined) throw new CulvertError('unauthorized', `The certificate ${fault}.`);
}
