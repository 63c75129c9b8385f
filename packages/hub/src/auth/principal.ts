import type { Identity, Permission } from '@culvert/protocol';

/** By a key. */
export interface KeyProof {
  readonly kind: 'key';
  readonly owner: KeyOwner;
  /** SHA-256 of the key, hexadecimal. */
  readonly keyDigest: string;
  /** The module for which its device's key was taken: it must stay registered, with the type `sas`. */
  readonly module?: RegisteredIdentity;
}

/** How a credential was proved, so that the proof's removal can be noticed. Holds no secret. */
export type Proof =
  | KeyProof
  /** By a certificate whose thumbprint is registered; both forms of it, upper-case hexadecimal. */
  | {
      readonly kind: 'thumbprint';
      readonly owner: RegisteredIdentity;
      readonly sha1: string;
      readonly sha256: string;
    }
  /** By a certificate that registered authorities vouch for. `authorities`: the SHA-256 of their certificates, at least one. */
  | { readonly kind: 'authority'; readonly owner: RegisteredIdentity; readonly authorities: readonly string[] };

/** One life of an identity: deleted and made again, it is another. */
export interface RegisteredIdentity extends Identity {
  readonly kind: 'identity';
  readonly generationId: string;
}

/** Whose key it was. */
export type KeyOwner = RegisteredIdentity | { readonly kind: 'policy'; readonly policy: string };

/** The identity that a verified credential authenticates. */
export interface Principal {
  /**
   * For logs and offers: `device:{d}`, `module:{d}/{m}` or `policy:{name}`, the owner of the credential. A module that came with its device's key is
   * `device:{d}`.
   */
  readonly name: string;
  readonly permissions: ReadonlySet<Permission>;
  /** The one device or module this principal is; undefined for a policy. */
  readonly identity: Identity | undefined;
  readonly proof: Proof;
  /** When the credential stops being taken, skew included, in milliseconds since the epoch. */
  readonly expiresAt: number;
}
