import { X509Certificate } from 'node:crypto';
import {
  CulvertError,
  type Identity,
  identityName,
  identityPath,
  LIMITS,
  parseSasToken,
  type SasToken,
} from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { AuthorityStore, IdentityRecord, PolicyStore, Registry } from '../registry/registry.ts';
import { authorize } from './authorize.ts';
import { authorityProof, type CertificateProof, thumbprintProof } from './certificate-proof.ts';
import type { ClientCertificate } from './client-certificate.ts';
import { keyDigest } from './key-digest.ts';
import { missingCredential } from './missing-credential.ts';
import type { KeyProof, Principal, Proof, RegisteredIdentity } from './principal.ts';
import { coversTarget, namesExactly, signingKey, type TwoKeys } from './sas-signature.ts';

export interface AuthenticatorOptions {
  readonly registry: Pick<Registry, 'get' | 'lookup'>;
  readonly policies: Pick<PolicyStore, 'lookup'>;
  readonly authorities: Pick<AuthorityStore, 'list'>;
  /** All names of the hub, with and without port, as they appear in audiences: `hub.example`, `hub.example:8443`, `[::1]:8443`. */
  readonly audiences: readonly string[];
  readonly clock: Clock;
  /** Milliseconds that a token is still accepted after its expiry; default {@link LIMITS.clockSkewMs}. */
  readonly clockSkewMs?: number;
}

/** The resource that a SAS token is presented for. */
export interface SasTarget {
  /** The path below the host, decoded, such as `devices/d1`, `twins/d1/streams/ssh`, `devices`. */
  readonly path: string;
  /**
   * The identity whose key must have signed a token without a policy: its own key, or, for a module, the key of its device. Absent where only tokens of
   * policies are accepted.
   */
  readonly identity?: Identity;
}

/** The credential that a device presents at a control channel's listener. */
export interface DeviceCredential {
  readonly identity: Identity;
  /** A SAS token; undefined when none was presented, in which case the certificate is verified. */
  readonly token: string | undefined;
  readonly certificate: ClientCertificate | undefined;
  /** Whether a certificate was requested from the client; default true. Used only for the message of a refusal. */
  readonly certificateAsked?: boolean | undefined;
}

/** Used in place of the keys of a device or policy that does not exist, so that refusing its tokens takes the same time. */
const DUMMY_KEYS = { primaryKey: `${'A'.repeat(43)}=`, secondaryKey: `${'B'.repeat(42)}A=` };

/** Determines the principal that a SAS token or a certificate authenticates (docs/protocol/07-authentication.md). All listeners verify credentials with it. */
export class Authenticator {
  readonly #registry: Pick<Registry, 'get' | 'lookup'>;
  readonly #policies: Pick<PolicyStore, 'lookup'>;
  readonly #authorities: Pick<AuthorityStore, 'list'>;
  readonly #audiences: readonly string[];
  readonly #clock: Clock;
  readonly #clockSkewMs: number;

  constructor(options: AuthenticatorOptions) {
    this.#registry = options.registry;
    this.#policies = options.policies;
    this.#authorities = options.authorities;
    this.#audiences = options.audiences;
    this.#clock = options.clock;
    this.#clockSkewMs = options.clockSkewMs ?? LIMITS.clockSkewMs;
  }

  /**
   * Verifies a token for any listener. `authorize` determines what the principal may do there.
   * @throws CulvertError `unauthorized` (also when the identity or policy does not exist, so that nobody can find out which ids exist), `token_expired`, and
   * `device_disabled`, which only a token with a correct signature gets
   */
  async authenticateSas(text: string, target: SasTarget): Promise<Principal> {
    const token = parseSasToken(text);
    const expiresAt = Math.min(token.expiry * 1000 + this.#clockSkewMs, Number.MAX_SAFE_INTEGER);
    const now = this.#clock.now();
    if (expiresAt < now) throw tokenExpired(token.expiry * 1000, now);
    const { identity } = target;
    const paths =
      token.policy === undefined && identity !== undefined ? [target.path, identityPath(identity)] : [target.path];
    // A module's token does not authenticate its device, even if the path is below that device.
    if (!paths.every((path) => coversTarget(token, this.#audiences, path))) {
      throw new CulvertError('unauthorized', 'The SAS token is made for another address (sr).');
    }
    if (token.policy !== undefined) return this.#policyPrincipal(token, token.policy, expiresAt);
    if (identity === undefined) throw new CulvertError('unauthorized');
    return this.#keyPrincipal(token, identity, expiresAt);
  }

  /**
   * Verifies the credential of a device or module for a control channel: a token made with its own key, its certificate, or the token of a policy with
   * `DeviceConnect`. In all cases the device or module must exist, and the device must be enabled. A credential of another type than the registered
   * authentication is refused.
   * @throws CulvertError as `authenticateSas`; `forbidden` for a policy without `DeviceConnect`
   */
  async authenticateDevice({ identity, token, certificate, certificateAsked }: DeviceCredential): Promise<Principal> {
    if (token === undefined) {
      if (certificate === undefined) throw missingCredential(certificateAsked);
      return this.#certified(identity, certificate);
    }
    const principal = await this.authenticateSas(token, { path: identityPath(identity), identity });
    authorize(principal, 'device.connect', identity);
    if (principal.identity === undefined) {
      const record = await this.#registry.get(identity);
      // A policy key cannot connect a device whose authentication is `none`.
      if (record === undefined || record.authentication.type === 'none') throw new CulvertError('unauthorized');
      await this.#assertEnabled(record);
    }
    return principal;
  }

  /**
   * Verifies the token of a policy for the hub as a whole, on a separate connection of a service.
   * @throws CulvertError as `authenticateSas`; `forbidden` for a policy without `ServiceConnect`
   */
  async authenticateService(token: string): Promise<Principal> {
    const principal = await this.authenticateSas(token, { path: '' });
    authorize(principal, 'service.connect');
    return principal;
  }

  async #certified(identity: Identity, certificate: ClientCertificate): Promise<Principal> {
    const found = await this.#registry.lookup(identity);
    const { record } = found;
    try {
      const { proof, expiresAt } = await this.#certificateProof(identity, record, certificate);
      // Never true, because only a registered identity has a proof; needed for the type.
      if (record === undefined) throw new CulvertError('unauthorized');
      await this.#assertEnabled(record);
      return identityPrincipal(record, { ...proof, owner: ownerOf(record) }, expiresAt);
    } catch (error) {
      await found.refused();
      throw error;
    }
  }

  async #certificateProof(
    identity: Identity,
    record: IdentityRecord | undefined,
    certificate: ClientCertificate,
  ): Promise<CertificateProof<'thumbprint'> | CertificateProof<'authority'>> {
    const authentication = record?.authentication;
    const now = this.#clock.now();
    return (
      thumbprintProof(certificate, authentication, now) ??
      authorityProof(certificate, { identity, authentication, authorities: await this.#trusted(), now })
    );
  }

  async #trusted(): Promise<X509Certificate[]> {
    return (await this.#authorities.list()).map(({ certificate }) => new X509Certificate(certificate));
  }

  async #policyPrincipal(token: SasToken, name: string, expiresAt: number): Promise<Principal> {
    const { record: policy, refused } = await this.#policies.lookup(name);
    const key = signingKey(token, policy ?? DUMMY_KEYS);
    if (policy === undefined || key === undefined) {
      await refused();
      throw new CulvertError('unauthorized');
    }
    return {
      name: `policy:${name}`,
      permissions: new Set(policy.permissions),
      identity: undefined,
      proof: { kind: 'key', owner: { kind: 'policy', policy: name }, keyDigest: keyDigest(key) },
      expiresAt,
    };
  }

  /**
   * Looks up every record and tries every key before it answers, so that the amount of work does not reveal which identities are registered.
   */
  async #keyPrincipal(token: SasToken, identity: Identity, expiresAt: number): Promise<Principal> {
    const { deviceId, moduleId } = identity;
    const own = await this.#registry.lookup(identity);
    const key = signingKey(token, sasKeys(own.record) ?? DUMMY_KEYS);
    const device = moduleId === undefined ? undefined : await this.#registry.lookup({ deviceId });
    const deviceKey = device && signingKey(token, sasKeys(device.record) ?? DUMMY_KEYS);
    const proof = keyProof(own.record, key) ?? this.#deviceKeyProof(token, own.record, device?.record, deviceKey);
    if (own.record === undefined || proof === undefined) {
      await Promise.all([own.refused(), device?.refused()]);
      throw new CulvertError('unauthorized');
    }
    await this.#assertEnabled(own.record);
    return identityPrincipal(own.record, proof, expiresAt);
  }

  /** A module's connection string may contain its device's key, as in Azure's test suites. The key then authenticates only the module that the token names. */
  #deviceKeyProof(
    token: SasToken,
    module: IdentityRecord | undefined,
    device: IdentityRecord | undefined,
    key: string | undefined,
  ): Proof | undefined {
    const proof = keyProof(device, key);
    if (module === undefined || proof === undefined || sasKeys(module) === undefined) return undefined;
    return namesExactly(token, this.#audiences, identityPath(module))
      ? { ...proof, module: ownerOf(module) }
      : undefined;
  }

  /** A disabled device's modules are disabled with it. */
  async #assertEnabled(record: IdentityRecord): Promise<void> {
    const { deviceId, moduleId } = record;
    const device = moduleId === undefined ? record : await this.#registry.get({ deviceId });
    if (device?.status !== 'enabled') throw new CulvertError('device_disabled');
  }
}

/** Whether a SAS token names no policy, and so claims to be made with the key of a device or module; for the log of refusals. */
export function isIdentityToken(token: string | undefined): boolean {
  try {
    return token !== undefined && parseSasToken(token).policy === undefined;
  } catch {
    return false;
  }
}

/** The keys of an identity whose authentication has the type `sas`; otherwise undefined. */
function sasKeys(record: IdentityRecord | undefined): TwoKeys | undefined {
  return record?.authentication.type === 'sas' ? record.authentication : undefined;
}

function keyProof(record: IdentityRecord | undefined, key: string | undefined): KeyProof | undefined {
  if (record === undefined || sasKeys(record) === undefined || key === undefined) return undefined;
  return { kind: 'key', owner: ownerOf(record), keyDigest: keyDigest(key) };
}

/** The message contains both times, so that its reader can see whether the token is old or was made with a wrong clock. */
function tokenExpired(expiry: number, now: number): CulvertError {
  const [expired, here] = [expiry, now].map((time) => new Date(time).toISOString().replace(/\.\d+Z$/, 'Z'));
  return new CulvertError('token_expired', `The token expired at ${expired}, and the hub's clock says ${here}.`);
}

function identityPrincipal(record: IdentityRecord, proof: Proof, expiresAt: number): Principal {
  const { deviceId, moduleId } = record;
  const prover = proof.owner.kind === 'identity' ? proof.owner : record;
  return {
    name: `${prover.moduleId === undefined ? 'device' : 'module'}:${identityName(prover)}`,
    permissions: new Set(['DeviceConnect']),
    identity: { deviceId, moduleId },
    proof,
    expiresAt,
  };
}

function ownerOf({ deviceId, moduleId, generationId }: IdentityRecord): RegisteredIdentity {
  return { kind: 'identity', deviceId, moduleId, generationId };
}
