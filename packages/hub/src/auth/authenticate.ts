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
  /** Every name the hub goes by, with and without port, as audiences carry it: `hub.example`, `hub.example:8443`, `[::1]:8443`. */
  readonly audiences: readonly string[];
  readonly clock: Clock;
  /** Milliseconds a token is taken beyond its expiry; default {@link LIMITS.clockSkewMs}. */
  readonly clockSkewMs?: number;
}

/** What a credential is shown for. */
export interface SasTarget {
  /** The path below the host, decoded, such as `devices/d1`, `twins/d1/streams/ssh`, `devices`. */
  readonly path: string;
  /**
   * Whose key a token without policy must be made with: its own, or that of the device whose module it is. Absent where only policies may come.
   */
  readonly identity?: Identity;
}

/** What a device shows at a control channel's listener. */
export interface DeviceCredential {
  readonly identity: Identity;
  /** A SAS token; undefined when none was shown, and then the certificate counts. */
  readonly token: string | undefined;
  readonly certificate: ClientCertificate | undefined;
  /** Whether the client was asked for one; default true. For the words of a refusal alone. */
  readonly certificateAsked?: boolean | undefined;
}

/** Stand in for the keys of a device or policy that does not exist, so that its tokens take as long to refuse. */
const NOBODY = { primaryKey: `${'A'.repeat(43)}=`, secondaryKey: `${'B'.repeat(42)}A=` };

/** Tells who a SAS token or a certificate proves its bearer to be (docs/protocol/07-authentication.md). Every listener asks it; none judges a credential itself. */
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
   * Verifies a token for any listener. What the principal may do there is `authorize`'s to say.
   * @throws CulvertError `unauthorized` (also for what does not exist: no one learns which ids do), `token_expired`, and
   * `device_disabled` to who holds the device's key
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
   * Verifies a device's or module's credential for a control channel: its own key's or certificate's, or the token of a policy that may speak
   * for devices. It must exist, and its device be enabled, either way. What its authentication is of another type proves nothing.
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
   * Verifies a policy's token for the hub as a whole, on a connection of a service's own.
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
      // There is no proof of what does not exist.
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
    const key = signingKey(token, policy ?? NOBODY);
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
   * Tries each record and each key before answering, so that the work does not reveal what is registered.
   */
  async #keyPrincipal(token: SasToken, identity: Identity, expiresAt: number): Promise<Principal> {
    const { deviceId, moduleId } = identity;
    const own = await this.#registry.lookup(identity);
    const key = signingKey(token, sasKeys(own.record) ?? NOBODY);
    const device = moduleId === undefined ? undefined : await this.#registry.lookup({ deviceId });
    const deviceKey = device && signingKey(token, sasKeys(device.record) ?? NOBODY);
    const proof = keyProof(own.record, key) ?? this.#deviceKeyProof(token, own.record, device?.record, deviceKey);
    if (own.record === undefined || proof === undefined) {
      await Promise.all([own.refused(), device?.refused()]);
      throw new CulvertError('unauthorized');
    }
    await this.#assertEnabled(own.record);
    return identityPrincipal(own.record, proof, expiresAt);
  }

  /** A module's connection string may hold its device's key (Azure's test suites make them so): it opens the one module that the token names. */
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

/** Whether a SAS token is said to be made with a device's or module's own key, for the log of refusals. */
export function claimsIdentity(token: string | undefined): boolean {
  try {
    return token !== undefined && parseSasToken(token).policy === undefined;
  } catch {
    return false;
  }
}

/** The keys of what is known by keys. */
function sasKeys(record: IdentityRecord | undefined): TwoKeys | undefined {
  return record?.authentication.type === 'sas' ? record.authentication : undefined;
}

function keyProof(record: IdentityRecord | undefined, key: string | undefined): KeyProof | undefined {
  if (record === undefined || sasKeys(record) === undefined || key === undefined) return undefined;
  return { kind: 'key', owner: ownerOf(record), keyDigest: keyDigest(key) };
}

/** With both times: whoever made the token sees whether it is old, or made by a clock that is wrong. */
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
