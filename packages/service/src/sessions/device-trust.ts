import type { Duplex } from 'node:stream';
import { CulvertError, type Identity, identityName, type SessionAnswer } from '@culvert/protocol';
import {
  decideForService,
  type EndKey,
  type Fingerprint,
  fleetDeviceCheck,
  KnownDevices,
  type LinkContext,
  MemoryPins,
  openEndKey,
  type PinStore,
  pinCheck,
  readFleetAuthorities,
  type SecureLink,
  type ServiceDecision,
  type StreamMode,
  sameKeyCheck,
  secureLink,
  serviceLinkContext,
} from '@culvert/session/keys';
import type { Clock } from '@culvert/stream';

/** The keys of a service side, and how it recognises devices. */
export interface DeviceTrustOptions {
  /**
   * The key by which devices recognise this client: a key, or the path of its file, which is created at first use with mode 0600. Default: none, so that
   * devices which list authorised services refuse this client.
   */
  readonly key?: EndKey | string;
  /**
   * The file where the keys of devices are pinned at first use. A device that later shows another key is refused (`key_changed`). Default: they are kept in
   * the client's memory.
   */
  readonly knownDevices?: string;
  /**
   * Fleet authorities of this hub: certificates, PEM, or the path of a file of them. Every device must then have a certificate of theirs that names it; pins
   * are not asked.
   */
  readonly fleetAuthorities?: readonly string[] | string;
  /** Permits raw streams and unencrypted sessions to devices that have a pin or an authority. Default false: `encryption_required`. */
  readonly allowUnencrypted?: boolean;
  /** How messages call what `allowUnencrypted` is set by. Default `session.allowUnencrypted`. */
  readonly allowUnencryptedName?: string;
}

/** What to do with a stream, apart from refusing it. */
export type AcceptedDecision = Exclude<ServiceDecision, { readonly action: 'refuse' | 'drop-link' }>;

interface Loaded {
  readonly context: LinkContext;
  readonly hasAuthorities: boolean;
}

/** Decides how a client's streams to devices are protected, and encrypts links. One for each client, so for one hub. */
export class DeviceTrust {
  readonly #hub: string;
  readonly #clock: Clock;
  readonly #options: DeviceTrustOptions;
  readonly #pins: PinStore;
  #loaded: Promise<Loaded> | undefined;

  /** @param hub as in connection strings, `HOST` or `HOST:PORT`: pins are kept under it */
  constructor(hub: string, clock: Clock, options: DeviceTrustOptions) {
    this.#hub = hub;
    this.#clock = clock;
    this.#options = options;
    const { knownDevices } = options;
    this.#pins = knownDevices === undefined ? new MemoryPins(clock) : new KnownDevices(knownDevices, clock);
  }

  /**
   * Decides about a stream by the hub's reply.
   * @param existing the mode of the session that the request named; undefined when it may begin one
   * @throws CulvertError `encryption_required`; `protocol_error` for a link that differs from its session; `config_invalid` when a file cannot be read
   */
  async decide(
    identity: Identity,
    reply: StreamMode,
    existing?: Exclude<StreamMode, 'raw'>,
  ): Promise<AcceptedDecision> {
    const decision = decideForService({
      trust: await this.#trust(identity),
      allowUnencrypted: this.#options.allowUnencrypted === true,
      reply,
      existing,
      device: this.#describe(identity),
      override: this.#override,
    });
    if (decision.action === 'refuse') throw new CulvertError('encryption_required', decision.message);
    if (decision.action === 'drop-link') throw new CulvertError('protocol_error', decision.message);
    return decision;
  }

  /**
   * Checks a stream that the program itself wants to be raw. Only what it was told to recognise devices by counts, no pins in memory: it may use some
   * streams in sessions and others raw.
   * @throws CulvertError `encryption_required` for a device that has a pin or an authority; `config_invalid` when a file cannot be read
   */
  async assertMayBeRaw(identity: Identity): Promise<void> {
    const { allowUnencrypted = false, knownDevices, fleetAuthorities } = this.#options;
    if (allowUnencrypted || (knownDevices === undefined && fleetAuthorities === undefined)) return;
    if ((await this.#trust(identity)) === 'none') return;
    const text = `A raw stream to ${this.#describe(identity)} would not be encrypted, and the device's key is known: not connected. Permit it with ${this.#override}.`;
    throw new CulvertError('encryption_required', text);
  }

  /**
   * Encrypts a link of a session. The stream is destroyed when this fails.
   * @param first the key of the session's first link; undefined on the first link
   * @param onFirstUse called when the device's key was pinned
   * @throws CulvertError `key_changed`, `key_refused`; as `secureLink`; `config_invalid` when a file cannot be read
   */
  async secure(
    stream: Duplex,
    identity: Identity,
    options: {
      readonly first?: Fingerprint | undefined;
      readonly onFirstUse: (fingerprint: Fingerprint) => void;
      readonly signal: AbortSignal;
    },
  ): Promise<SecureLink> {
    const { context, hasAuthorities } = await this.#load();
    const { first, onFirstUse, signal } = options;
    const subject = { hub: this.#hub, identity };
    const firstCheck = hasAuthorities
      ? fleetDeviceCheck(subject)
      : pinCheck({ subject, knownDevices: this.#pins, onFirstUse });
    const checkPeer = first === undefined ? firstCheck : sameKeyCheck(first);
    return secureLink(stream, { context, clock: this.#clock, checkPeer, signal });
  }

  get #override(): string {
    return this.#options.allowUnencryptedName ?? 'session.allowUnencrypted';
  }

  #describe(identity: Identity): string {
    return `${identityName(identity)} at ${this.#hub}`;
  }

  async #trust({ deviceId, moduleId }: Identity): Promise<'pin' | 'authority' | 'none'> {
    // Reading the authorities is needed to know whether there are any, and fails where their file is missing.
    if ((await this.#load()).hasAuthorities) return 'authority';
    const pin = await this.#pins.find({ hub: this.#hub, deviceId, moduleId });
    return pin === undefined ? 'none' : 'pin';
  }

  /** A failure is not kept: the files may be corrected while the program runs. */
  #load(): Promise<Loaded> {
    this.#loaded ??= this.#read().catch((error: unknown) => {
      this.#loaded = undefined;
      throw error;
    });
    return this.#loaded;
  }

  async #read(): Promise<Loaded> {
    const { key, fleetAuthorities } = this.#options;
    const warn = (text: string): void => process.emitWarning(text);
    const own = typeof key === 'string' ? await openEndKey(key, { clock: this.#clock, warn }) : key;
    const authorities =
      typeof fleetAuthorities === 'string' ? await readFleetAuthorities(fleetAuthorities) : (fleetAuthorities ?? []);
    return { context: serviceLinkContext({ key: own, authorities }), hasAuthorities: authorities.length > 0 };
  }
}

/** What the hub's reply says about a stream. */
export function modeOf(session: SessionAnswer | undefined): StreamMode {
  if (session === undefined) return 'raw';
  return session.encrypted ? 'encrypted-session' : 'session';
}
