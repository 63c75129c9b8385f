import type { X509Certificate } from 'node:crypto';
import {
  authoritiesBelow,
  authorityFault,
  certificateExpiry,
  intermediateFault,
  lifeFault,
} from './certificate-rules.ts';

/** A registered authority from which a valid path leads to a certificate. */
export interface TrustAnchor {
  readonly authority: X509Certificate;
  /** The earliest expiry of a certificate on the path, in milliseconds since the epoch. */
  readonly until: number;
}

/** A certificate on a path from a client's certificate to an authority. */
interface Step {
  readonly certificate: X509Certificate;
  /** Number of authorities between the client's certificate and the issuer of this one. */
  readonly below: number;
  readonly until: number;
}

/**
 * Finds the registered authorities that have issued a client's certificate, directly or through other certificates that the client sent: path validation by
 * RFC 5280 §6.1, with the registered authorities, roots or not, as the only trust anchors. Features of that section that are not implemented here (name
 * constraints, unknown critical extensions) are refused (docs/adr/0010). The caller checks whether the certificate itself is valid for a client.
 * @param sent the other certificates that the client sent, in any order; must be few, because the signatures of all of them may have to be verified
 */
export function findTrustAnchors(
  client: X509Certificate,
  {
    sent,
    authorities,
    now,
  }: { sent: readonly X509Certificate[]; authorities: readonly X509Certificate[]; now: number },
): TrustAnchor[] {
  const found = new Map<X509Certificate, TrustAnchor>();
  const unused = new Set(sent);
  // Breadth first, each certificate once: this finds its shortest path, which the path length constraints restrict least.
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
 * Whether names, key identifiers and key usage match (§6.1.3, 4.2.1.1, 4.2.1.3), the issuer is valid now and has no fault, its path length constraint allows
 * this position, and its signature is correct. The signature is checked last, because that is expensive.
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
    // OpenSSL cannot use the key or a part of it.
    return false;
  }
}

function earlier(until: number, certificate: X509Certificate): number {
  return Math.min(until, certificateExpiry(certificate));
}
