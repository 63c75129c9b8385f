import type { X509Certificate } from 'node:crypto';
import { CulvertError, type Identity, identityName } from '@culvert/protocol';
import type { Authentication } from '../registry/registry.ts';
import { findVouchers, type Voucher } from './certificate-path.ts';
import { clientFault, clientUseFault, lifeEnd, lifeFault } from './certificate-rules.ts';
import { type ClientCertificate, thumbprint } from './client-certificate.ts';
import type { Proof } from './principal.ts';

/** What is known where a certificate is shown. */
export interface ProofTerms {
  /** Who its bearer says it is. */
  readonly identity: Identity;
  /** What is registered of that one; undefined when nothing is. */
  readonly authentication: Authentication | undefined;
  /** The registered authorities. */
  readonly authorities: readonly X509Certificate[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** How a certificate proves an identity, without whose it is. */
type CertificateProof =
  | Omit<Extract<Proof, { kind: 'thumbprint' }>, 'owner'>
  | Omit<Extract<Proof, { kind: 'authority' }>, 'owner'>;

/**
 * What a certificate proves, and until when, in milliseconds since the epoch.
 * @throws CulvertError `unauthorized`: what it says, and how long it takes to say so, depends on the certificate, the authorities and the
 * name that was claimed, but not on whether there is such an identity or what is registered of it
 */
export function certificateProof(
  shown: ClientCertificate,
  { identity, authentication, authorities, now }: ProofTerms,
): { proof: CertificateProof; expiresAt: number } {
  const { certificate, sent, commonName, sha1, sha256 } = shown;
  refuseIf(lifeFault(certificate, now));
  if (authentication?.type === 'selfSigned' && matchesThumbprint(authentication, shown)) {
    // The thumbprint pins this very certificate, so a use that it does not name is not asked for; uses that exclude this one are heard.
    if (certificate.keyUsage !== undefined) refuseIf(clientUseFault(certificate));
    return { proof: { kind: 'thumbprint', sha1, sha256 }, expiresAt: lifeEnd(certificate) };
  }
  const vouchers = findVouchers(certificate, { sent, authorities, now });
  if (vouchers.length === 0) refuseIf('is not registered, and no registered certificate authority vouches for it');
  refuseIf(clientUseFault(certificate) ?? clientFault(certificate));
  if (commonName !== identityName(identity)) {
    refuseIf(
      `is not for this name: its common name is not ${identity.moduleId === undefined ? 'the device id' : 'DEVICE/MODULE'}`,
    );
  }
  if (authentication?.type !== 'certificateAuthority') throw new CulvertError('unauthorized');
  return { proof: { kind: 'authority', authorities: vouchers.map(thumbprintOf) }, expiresAt: earliest(vouchers) };
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

function thumbprintOf({ authority }: Voucher): string {
  return thumbprint(authority.fingerprint256);
}

/** The channel must not outlive any of the paths it may be said to stand on. */
function earliest(vouchers: readonly Voucher[]): number {
  return Math.min(...vouchers.map(({ until }) => until));
}

function refuseIf(fault: string | undefined): void {
  if (fault !== undefined) throw new CulvertError('unauthorized', `The certificate ${fault}.`);
}
