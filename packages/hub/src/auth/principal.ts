import type { Permission } from '@culvert/protocol';

/** Which key of whom proved a credential, so that its removal can be noticed. Holds no secret. */
export interface KeyReference {
  readonly owner:
    | { readonly kind: 'device'; readonly deviceId: string; readonly generationId: string }
    | { readonly kind: 'policy'; readonly policy: string };
  /** SHA-256 of the key, hexadecimal. */
  readonly keyDigest: string;
}

/** Who a verified credential proves you are. */
export interface Principal {
  /** For logs and offers: `device:{id}` or `policy:{name}`. */
  readonly name: string;
  readonly permissions: ReadonlySet<Permission>;
  /** The one device this principal is; undefined for a policy. */
  readonly deviceId: string | undefined;
  readonly key: KeyReference;
  /** When the credential stops being taken, skew included, in milliseconds since the epoch. */
  readonly expiresAt: number;
}
