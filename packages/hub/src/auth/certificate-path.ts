import type { X509Certificate } from 'node:crypto';
import {
  authoritiesBelow,
  authorityFault,
  certificateExpiry,
  intermediateFault,
  lifeFault,
} from './certificate-rules.ts';

/** A registered authority that vouches for a certificate. */
export interface Voucher {
  readonly authority: X509Certificate;
  /** Milliseconds since the epoch at which the first certificate of the path to it runs out. */
  readonly until: number;
}

/** A certificate on the way from a client's to an authority. */
interface Step {
  readonly certificate: X509Certificate;
  /** Authorities between the client's certificate and the issuer of this one. */
  readonly below: number;
  readonly until: number;
}

/**
 * Finds the registered authorities that vouch for a client's certificate, directly or through those it sent along: path validation by RFC
 * 5280 §6.1, with the registered authorities, roots or not, as the trust anchors, and no others. What is heeded less than there (name
 * constraints, unknown critical extensions) is refused (docs/adr/0010). Whether the certificate itself can be a client's is the caller's to ask.
 * @param sent what the client sent along, in any order; few, for the signatures of all of them may have to be verified
 */
export function findVouchers(
  client: X509Certificate,
  {
    sent,
    authorities,
    now,
  }: { sent: readonly X509Certificate[]; authorities: readonly X509Certificate[]; now: number },
): Voucher[] {
  const found = new Map<X509Certificate, Voucher>();
  const unused = new Set(sent);
  // Breadth first, each once: it is reached by the shortest way, on which a path length is least in the way.
  const steps: Step[] = [{ certificate: client, below: 0, until: certificateExpiry(client) }];
  for (const step of steps) {
    for (const authority of authorities) {
      if (found.has(authority) || !hasIssued(authority, step, { now, fault: authorityFault })) continue;
      found.set(authority, { authority, until: earlier(step.until, authority) });
    }
    for (const candidate of unused) {
      if (!hasIssued(candidate, step, { now, fault: intermediateFault })) continue;
      unused.delete(candidate);
      steps.push({ certificate: candidate, below: step.below + 1, until: earlier(step.until, candidate) });
    }
  }
  return [...found.values()];
}

/**
 * Whether names, key identifiers and key usage fit (§6.1.3, 4.2.1.1, 4.2.1.3), the issuer has no fault, counts now and that far up, and has
 * signed: in this order, for signatures are dear.
 */
function hasIssued(
  issuer: X509Certificate,
  { certificate, below }: Step,
  { now, fault }: { now: number; fault: (issuer: X509Certificate) => string | undefined },
): boolean {
  try {
    return (
      certificate.checkIssued(issuer) &&
      lifeFault(issuer, now) === undefined &&
      fault(issuer) === undefined &&
      below <= authoritiesBelow(issuer) &&
      certificate.verify(issuer.publicKey)
    );
  } catch {
    // A key or a part of it that OpenSSL makes nothing of.
    return false;
  }
}

function earlier(until: number, certificate: X509Certificate): number {
  return Math.min(until, certificateExpiry(certificate));
}
