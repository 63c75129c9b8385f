import { CulvertError, LIMITS, parseSasToken, type SasToken } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { DeviceRecord, PolicyStore, Registry } from '../registry/registry.ts';
import { authorize } from './authorize.ts';
import { keyDigest } from './key-digest.ts';
import type { Principal } from './principal.ts';
import { coversTarget, signingKey } from './sas-signature.ts';

export interface AuthenticatorOptions {
  readonly registry: Pick<Registry, 'get'>;
  readonly policies: Pick<PolicyStore, 'get'>;
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
  /** Whose key a token without policy must be made with. Absent where only policies may come. */
  readonly deviceId?: string;
}

/** Stand in for the keys of a device or policy that does not exist, so that its tokens take as long to refuse. */
const NOBODY = { primaryKey: `${'A'.repeat(43)}=`, secondaryKey: `${'B'.repeat(42)}A=` };

/** Tells who a SAS token proves its bearer to be (docs/protocol/07-authentication.md). Every door asks it; none parses a token itself. */
export class Authenticator {
  readonly #registry: Pick<Registry, 'get'>;
  readonly #policies: Pick<PolicyStore, 'get'>;
  readonly #audiences: readonly string[];
  readonly #clock: Clock;
  readonly #clockSkewMs: number;

  constructor(options: AuthenticatorOptions) {
    this.#registry = options.registry;
    this.#policies = options.policies;
    this.#audiences = options.audiences;
    this.#clock = options.clock;
    this.#clockSkewMs = options.clockSkewMs ?? LIMITS.clockSkewMs;
  }

  /**
   * Verifies a token for any door. What the principal may do there is `authorize`'s to say.
   * @throws CulvertError `unauthorized` (also for what does not exist: no one learns which ids do), `token_expired`, and
   * `device_disabled` to who holds the device's key
   */
  async authenticateSas(text: string, target: SasTarget): Promise<Principal> {
    const token = parseSasToken(text);
    const expiresAt = Math.min(token.expiry * 1000 + this.#clockSkewMs, Number.MAX_SAFE_INTEGER);
    if (expiresAt < this.#clock.now()) throw new CulvertError('token_expired');
    if (!coversTarget(token, this.#audiences, target.path)) {
      throw new CulvertError('unauthorized', 'The SAS token is made for another address (sr).');
    }
    if (token.policy !== undefined) return this.#policyPrincipal(token, token.policy, expiresAt);
    if (target.deviceId === undefined) throw new CulvertError('unauthorized');
    return this.#devicePrincipal(token, target.deviceId, expiresAt);
  }

  /**
   * Verifies a device's credential for a control channel: its own key's, or that of a policy that may speak for devices. The
   * device must exist and be enabled either way.
   * @throws CulvertError as `authenticateSas`; `forbidden` for a policy without `DeviceConnect`
   */
  async authenticateDevice(text: string, deviceId: string): Promise<Principal> {
    const principal = await this.authenticateSas(text, { path: `devices/${deviceId}`, deviceId });
    authorize(principal, 'device.connect', { deviceId });
    if (principal.deviceId === undefined) {
      const device = await this.#registry.get(deviceId);
      if (device === undefined) throw new CulvertError('unauthorized');
      assertEnabled(device);
    }
    return principal;
  }

  async #policyPrincipal(token: SasToken, name: string, expiresAt: number): Promise<Principal> {
    const policy = await this.#policies.get(name);
    const key = signingKey(token, policy ?? NOBODY);
    if (policy === undefined || key === undefined) throw new CulvertError('unauthorized');
    return {
      name: `policy:${name}`,
      permissions: new Set(policy.permissions),
      deviceId: undefined,
      key: { owner: { kind: 'policy', policy: name }, keyDigest: keyDigest(key) },
      expiresAt,
    };
  }

  async #devicePrincipal(token: SasToken, deviceId: string, expiresAt: number): Promise<Principal> {
    const device = await this.#registry.get(deviceId);
    const key = signingKey(token, device ?? NOBODY);
    if (device === undefined || key === undefined) throw new CulvertError('unauthorized');
    assertEnabled(device);
    const { generationId } = device;
    return {
      name: `device:${deviceId}`,
      permissions: new Set(['DeviceConnect']),
      deviceId,
      key: { owner: { kind: 'device', deviceId, generationId }, keyDigest: keyDigest(key) },
      expiresAt,
    };
  }
}

function assertEnabled(device: DeviceRecord): void {
  if (device.status === 'disabled') throw new CulvertError('device_disabled');
}
