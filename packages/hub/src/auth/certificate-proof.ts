import type { X509Certificate } from 'node:crypto';
import { CulvertError, type Identity, identityName } from '@culvert/protocol';
import type { Authentication } from '../registry/registry.ts';
import { findVouchers, type Voucher } from './certificate-path.ts';
import { certificateExpiry, clientFault, clientUseFault, lifeFault } from './certificate-rules.ts';
import { type ClientCertificate, thumbprint } from './client-certificate.ts';
import type { Proof } from './principal.ts';

// A certificate is looked for among the thumbprints first and then among what the authorities vouch for, whatever is registered: what a
// refusal says, and how long it takes to say so, depends on the certificate, the authorities and the name that is claimed, but not on whether
// there is such an identity or how it is known.

/** How a certificate proves an identity, without whose it is, and until when, in milliseconds since the epoch. */
export interface CertificateProof<Kind extends Proof['kind'] = 'thumbprint' | 'authority'> {
  readonly proof: Omit<Extract<Proof, { kind: Kind }>, 'owner'>;
  readonly expiresAt: number;
}

/**
 * What a certificate proves by its thumbprint; undefined when it is not registered.
 * @param authentication what is registered of the identity that is claimed
 * @throws CulvertError `unauthorized` when it does not count now, or is for other uses
 */
export function thumbprintProof(
  shown: ClientCertificate,
  authentication: Authentication | undefined,
  now: number,
): CertificateProof<'thumbprint'> | undefined {
  const { certificate, sha1, sha256 } = shown;
  refuseIf(lifeFault(certificate, now));
  if (authentication?.type !== 'selfSigned' || !matchesThumbprint(authentication, shown)) return undefined;
  // The thumbprint pins this very certificate, so a use that it does not name is not asked for; uses that exclude this one are heard.
  if (certificate.keyUsage !== undefined) refuseIf(clientUseFault(certificate));
  return { proof: { kind: 'thumbprint', sha1, sha256 }, expiresAt: certificateExpiry(certificate) };
}

/** What a certificate without a registered thumbprint is held against. */
export interface AuthorityOptions {
  /** The identity that the client claims. */
  readonly identity: Identity;
  /** What is registered of that one; undefined when nothing is. */
  readonly authentication: Authentication | undefined;
  /** The registered authorities. */
  readonly authorities: readonly X509Certificate[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * What a certificate that counts now proves by those who vouch for it.
 * @throws CulvertError `unauthorized`
 */
export function authorityProof(
  { certificate, sent, commonName }: ClientCertificate,
  { identity, authentication, authorities, now }: AuthorityOptions,
): CertificateProof<'authority'> {
  const vouchers = findVouchers(certificate, { sent, authorities, now });
  if (vouchers.length === 0) refuseIf('is not registered, and no registered certificate authority vouches for it');
  refuseIf(clientUseFault(certificate) ?? clientFault(certificate));
  if (commonName !== identityName(identity)) {
    const name = identity.moduleId === undefined ? 'the device id' : 'DEVICE/MODULE';
    refuseIf(`is not for this name: its common name is not ${name}`);
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
