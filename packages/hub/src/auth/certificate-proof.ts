import type { X509Certificate } from 'node:crypto';
import { CulvertError, identityName } from '@culvert/protocol';
import type { IdentityRecord } from '../registry/registry.ts';
import { findVouchers } from './certificate-path.ts';
import { clientFault, clientUseFault, lifeEnd, lifeFault } from './certificate-rules.ts';
import { type ClientCertificate, thumbprint } from './client-certificate.ts';
import type { Proof, RegisteredIdentity } from './principal.ts';

/** What a proof is held against. */
export interface ProofTerms {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly owner: RegisteredIdentity;
  /** The registered authorities. */
  readonly authorities: readonly X509Certificate[];
}

/**
 * What a certificate proves of the identity in `record`, and until when, in milliseconds since the epoch.
 * @throws CulvertError `unauthorized`, with what is wrong with the certificate but not with what is registered
 */
export function certificateProof(
  shown: ClientCertificate,
  record: IdentityRecord,
  terms: ProofTerms,
): { proof: Proof; expiresAt: number } {
  const { certificate, sha1, sha256 } = shown;
  const { now, owner } = terms;
  refuseIf(lifeFault(certificate, now));
  switch (record.authentication.type) {
    case 'selfSigned': {
      // The thumbprint pins this very certificate, so a use that it does not name is not asked for; uses that exclude this one are heard.
      if (certificate.keyUsage !== undefined) refuseIf(clientUseFault(certificate));
      if (!matchesThumbprint(record.authentication, shown)) throw new CulvertError('unauthorized');
      return { proof: { kind: 'thumbprint', owner, sha1, sha256 }, expiresAt: lifeEnd(certificate) };
    }
    case 'certificateAuthority':
      return authorityProof(shown, record, terms);
    default:
      throw new CulvertError('unauthorized');
  }
}

function authorityProof(
  { certificate, sent, commonName }: ClientCertificate,
  record: IdentityRecord,
  { now, owner, authorities }: ProofTerms,
): { proof: Proof; expiresAt: number } {
  refuseIf(clientUseFault(certificate) ?? clientFault(certificate));
  const vouchers = findVouchers(certificate, { sent, authorities, now });
  if (vouchers.length === 0) {
    throw new CulvertError('unauthorized', 'No registered certificate authority vouches for the certificate.');
  }
  if (commonName !== identityName(record)) {
    const what = record.moduleId === undefined ? 'the device id' : 'DEVICE/MODULE';
    throw new CulvertError('unauthorized', `The certificate's common name is not ${what}.`);
  }
  return {
    proof: {
      kind: 'authority',
      owner,
      authorities: vouchers.map(({ authority }) => thumbprint(authority.fingerprint256)),
    },
    // The channel must not outlive any of the paths it may be said to stand on.
    expiresAt: Math.min(...vouchers.map(({ until }) => until)),
  };
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

function refuseIf(fault: string | undefined): void {
  if (fault !== undefined) throw new CulvertError('unauthorized', `The certificate ${fault}.`);
}
