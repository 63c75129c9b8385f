import type { Identity, Permission } from '@culvert/protocol';

/** The principal was authenticated with a symmetric key: one of a device's or module's own, or one of a shared access policy. */
export interface KeyProof {
  readonly kind: 'key';
  readonly owner: KeyOwner;
  /** SHA-256 of the key, hexadecimal. */
  readonly keyDigest: string;
  /** The module that was authenticated with its device's key: it must stay registered, with authentication of the type `sas`. */
  readonly module?: RegisteredIdentity;
}

/** How a principal was authenticated, so that the removal of its key, certificate or authority can be noticed. Contains no secret. */
export type Proof =
  | KeyProof
  /** Authenticated with a certificate whose thumbprint is registered; both thumbprints, upper-case hexadecimal. */
  | {
      readonly kind: 'thumbprint';
      readonly owner: RegisteredIdentity;
      readonly sha1: string;
      readonly sha256: string;
    }
  /** Authenticated with a certificate that registered authorities have issued. `authorities`: the SHA-256 of their certificates, at least one. */
  | { readonly kind: 'authority'; readonly owner: RegisteredIdentity; readonly authorities: readonly string[] };

/** One registration of an identity. An identity that is deleted and created again is another one. */
export interface RegisteredIdentity extends Identity {
  readonly kind: 'identity';
  readonly generationId: string;
}

/** The owner of a key. */
export type KeyOwner = RegisteredIdentity | { readonly kind: 'policy'; readonly policy: string };

/** The identity that a verified credential authenticates. */
export interface Principal {
  /**
   * The owner of the credential, for logs and offers: `device:{d}`, `module:{d}/{m}` or `policy:{name}`. For a module that was authenticated with its
   * device's key it is `device:{d}`.
   */
  readonly name: string;
  readonly permissions: ReadonlySet<Permission>;
  /** The one device or module this principal is; undefined for a policy. */
  readonly identity: Identity | undefined;
  readonly proof: Proof;
  /** When the credential is no longer accepted, clock skew included, in milliseconds since the epoch. */
  readonly expiresAt: number;
}
