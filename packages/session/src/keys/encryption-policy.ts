// Decides whether an end goes on without end-to-end encryption. The hub carries the negotiation and could remove the session's property from it, so an end
// that has reason to expect encryption never goes on without it.

/** What two ends agree on for one stream: one TCP connection as it is; a session that the hub can read; a session encrypted between the ends. */
export type StreamMode = 'raw' | 'session' | 'encrypted-session';

/** What the service side knows when the hub's reply to its request has arrived. */
export interface ServiceSituation {
  /** By what the service side can recognise the device: a pinned key, a fleet authority for its hub, or nothing yet. */
  readonly trust: 'pin' | 'authority' | 'none';
  /** Whether the user permits streams without encryption to a device that has a pin or an authority. */
  readonly allowUnencrypted: boolean;
  /** What the reply says. */
  readonly reply: StreamMode;
  /** The mode of the session that the request was for; undefined when the request may begin one. */
  readonly existing?: Exclude<StreamMode, 'raw'> | undefined;
  /** Names the device in messages: `press-7 at hub.example.com`. */
  readonly device: string;
  /** Names in messages what permits streams without encryption: `--allow-unencrypted`, or an option of the SDK. */
  readonly override: string;
}

/** What the service side does with the stream. */
export type ServiceDecision =
  | { readonly action: 'encrypt' }
  /** Goes on without encryption. The user is told for each raw stream and each session; undefined for further links of a session. */
  | { readonly action: 'go-on-unencrypted'; readonly warning: string | undefined }
  /** Closes the stream before anything is sent, and gives up: `encryption_required`. */
  | { readonly action: 'refuse'; readonly message: string }
  /** Closes the stream before anything is sent; the session stays, and asks for another link. */
  | { readonly action: 'drop-link'; readonly message: string };

/** Decides for the service side. Each message is one line. */
export function decideForService(situation: ServiceSituation): ServiceDecision {
  const { trust, allowUnencrypted, reply, existing, device, override } = situation;
  if (existing !== undefined) return decideForLink(reply, existing, device);
  if (reply === 'encrypted-session') return { action: 'encrypt' };
  const offered = `The hub offers only ${WORDS[reply]} to ${device}`;
  if (trust === 'none' || allowUnencrypted)
    return { action: 'go-on-unencrypted', warning: `${offered}: the hub can read and change what is sent.` };
  const reason = trust === 'pin' ? 'whose key is pinned' : 'for which a fleet authority is set';
  const message = `${offered}, ${reason}: not connected. If the device really has no encryption, permit it with ${override}.`;
  return { action: 'refuse', message };
}

/** A session keeps its mode: no override changes that, because the connections that were opened in it rely on it. */
function decideForLink(reply: StreamMode, existing: StreamMode, device: string): ServiceDecision {
  if (reply !== existing) {
    const message = `Dropped a new link of the session with ${device}: it is ${WORDS[existing]}, and the hub offers ${WORDS[reply]}.`;
    return { action: 'drop-link', message };
  }
  if (reply === 'encrypted-session') return { action: 'encrypt' };
  return { action: 'go-on-unencrypted', warning: undefined };
}

/** After "is", "offers" and "accepts". */
const WORDS: Readonly<Record<StreamMode, string>> = {
  raw: 'a raw stream',
  session: 'an unencrypted session',
  'encrypted-session': 'an encrypted session',
};

/** What a device knows when a stream is offered. */
export interface DeviceSituation {
  /** Whether the device lists which services may connect. Only an encrypted session shows who connects. */
  readonly hasAuthorizedServices: boolean;
  /** Whether the device's configuration requires encryption (`require_encryption`). */
  readonly requireEncryption: boolean;
  /** Whether the device has a key. */
  readonly hasKey: boolean;
  /** What the offer says. */
  readonly offer: StreamMode;
  /** The mode of the session that the offer is for; undefined when the device does not have that session, or the offer names none. */
  readonly existing?: Exclude<StreamMode, 'raw'> | undefined;
  /** The name of the stream, for messages. `culvert-echo` is no exception: through one stream a hub could inject as through any other. */
  readonly name: string;
}

/** What the device answers. The reason is sent to the service side, so it says nothing of the device's configuration but this. */
export type DeviceDecision =
  | { readonly action: 'accept'; readonly mode: StreamMode }
  | { readonly action: 'reject'; readonly reason: string };

/** Decides for the device. */
export function decideForDevice(situation: DeviceSituation): DeviceDecision {
  const { hasAuthorizedServices, requireEncryption, hasKey, offer, existing, name } = situation;
  if (offer === 'encrypted-session' && !hasKey)
    return { action: 'reject', reason: `'${name}': this device has no key for an encrypted session.` };
  if (existing !== undefined && offer !== existing)
    return {
      action: 'reject',
      reason: `'${name}': the session is ${WORDS[existing]}, and this offer is for ${WORDS[offer]}.`,
    };
  if (offer === 'encrypted-session' || !(hasAuthorizedServices || requireEncryption))
    return { action: 'accept', mode: offer };
  return { action: 'reject', reason: `'${name}': this device accepts encrypted sessions only, not ${WORDS[offer]}.` };
}
