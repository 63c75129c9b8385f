import type { Duplex } from 'node:stream';
import { CulvertError, type Identity } from '@culvert/protocol';
import { keyRefusal } from '@culvert/session';
import {
  type AuthorizedServices,
  anyServiceCheck,
  authorizedServiceCheck,
  type DeviceDecision,
  type DeviceSituation,
  decideForDevice,
  deviceLinkContext,
  type EndKey,
  type Fingerprint,
  type LinkContext,
  openEndKey,
  type PeerCheck,
  readAuthorizedServices,
  type SecureLink,
  sameKeyCheck,
  secureLink,
} from '@culvert/session/keys';
import type { Clock } from '@culvert/stream';

/** The key of a device, and which service sides it accepts. */
export interface SessionKeyOptions {
  /**
   * The key by which services recognise this device: a key, or the path of its file, which is created at first use with mode 0600. With it sessions are
   * encrypted between the two ends. Default: none, so the hub can read and change what is sent.
   */
  readonly key?: EndKey | string;
  /**
   * The service sides that may open streams to this device: a list, or the path of its file, which is read for each link. Every raw stream and every
   * unencrypted session is refused then. Default: whoever the hub lets in.
   */
  readonly authorizedServices?: AuthorizedServices | string;
  /** Refuses every raw stream and every unencrypted session. Default false. */
  readonly requireEncryption?: boolean;
}

/** The peer of the session that a link is for, if the device has that session. */
export type ExistingSession = { readonly isEncrypted: boolean; readonly peerKey: Fingerprint | undefined } | undefined;

/** Decides about offers by the device's keys, and encrypts links. */
export class SessionKeys {
  readonly #options: SessionKeyOptions;
  readonly #clock: Clock;
  readonly #identity: Identity;
  #key: EndKey | undefined;
  /** The newest context and the authorities that it was made for. */
  #context: { readonly context: LinkContext; readonly authorities: string } | undefined;

  /** @throws CulvertError `argument_invalid` when encryption is demanded without a key: nobody could connect */
  constructor(identity: Identity, clock: Clock, options: SessionKeyOptions) {
    this.#options = options;
    this.#clock = clock;
    this.#identity = identity;
    if (typeof options.key !== 'string') this.#key = options.key;
    if (this.#accepts.encryptedOnly && !this.hasKey)
      throw new CulvertError('argument_invalid', 'authorizedServices and requireEncryption need a key.');
  }

  /** Whether the device can encrypt sessions. */
  get hasKey(): boolean {
    return this.#options.key !== undefined;
  }

  /** Of the own key, once it is loaded; undefined without one. */
  get fingerprint(): Fingerprint | undefined {
    return this.#key?.fingerprint;
  }

  /** Whether {@link load} has something to read. */
  get needsLoading(): boolean {
    const { authorizedServices } = this.#options;
    return typeof authorizedServices === 'string' || (typeof this.#options.key === 'string' && this.#key === undefined);
  }

  /** Reads the files, or creates the one of the key. @throws CulvertError `config_invalid` */
  async load(): Promise<void> {
    await this.#ownKey();
    await this.#authorized();
  }

  /** Decides about an offer; raw streams are asked about too. */
  decide(situation: Pick<DeviceSituation, 'offer' | 'existing' | 'name'>): DeviceDecision {
    return decideForDevice({ ...situation, ...this.#accepts.situation, hasKey: this.hasKey });
  }

  /**
   * Encrypts a link. The stream is destroyed when this fails; a service side whose key is refused is told so before.
   * @param hub as in connection strings, `HOST` or `HOST:PORT`
   * @throws CulvertError `key_refused`; as `secureLink`; `config_invalid` when a file cannot be read
   */
  async secure(stream: Duplex, hub: string, existing: ExistingSession): Promise<SecureLink> {
    const authorized = await this.#authorized();
    const context = await this.#contextFor(authorized?.authorities ?? []);
    const mayConnect =
      authorized === undefined
        ? anyServiceCheck
        : authorizedServiceCheck(authorized, { hub, identity: this.#identity });
    const checkPeer: PeerCheck = async (peer) => {
      await mayConnect(peer);
      if (existing !== undefined) await sameKeyCheck(existing.peerKey)(peer);
    };
    return secureLink(stream, { context, clock: this.#clock, checkPeer, farewell: keyRefusal });
  }

  get #accepts() {
    const { authorizedServices, requireEncryption = false } = this.#options;
    const hasAuthorizedServices = authorizedServices !== undefined;
    return {
      encryptedOnly: hasAuthorizedServices || requireEncryption,
      situation: { hasAuthorizedServices, requireEncryption },
    };
  }

  async #ownKey(): Promise<EndKey | undefined> {
    const { key } = this.#options;
    const warn = (text: string): void => process.emitWarning(text);
    if (typeof key === 'string') this.#key ??= await openEndKey(key, { clock: this.#clock, warn });
    return this.#key;
  }

  /** Read for each link, as sshd reads its list: who was taken off it cannot connect again, and nobody has to tell this process. */
  async #authorized(): Promise<AuthorizedServices | undefined> {
    const { authorizedServices } = this.#options;
    return typeof authorizedServices === 'string' ? readAuthorizedServices(authorizedServices) : authorizedServices;
  }

  async #contextFor(authorities: readonly string[]): Promise<LinkContext> {
    const text = authorities.join('\n');
    const key = await this.#ownKey();
    if (key === undefined) throw new CulvertError('internal', 'A device without a key cannot encrypt a link.');
    if (this.#context?.authorities !== text)
      this.#context = { context: deviceLinkContext({ key, authorities }), authorities: text };
    return this.#context.context;
  }
}
