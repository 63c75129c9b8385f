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
  /** Goes on without encryption, and tells the user so each time. */
  | { readonly action: 'go-on-unencrypted'; readonly warning: string }
  /** Closes the stream before anything is sent, and gives up: `encryption_required`. */
  | { readonly action: 'refuse'; readonly message: string }
  /** Closes the stream before anything is sent; the session stays, and asks for another link. */
  | { readonly action: 'drop-link'; readonly message: string };

/** Decides for the service side. Each message is one line. */
export function decideForService(situation: ServiceSituation): ServiceDecision {
  const { trust, allowUnencrypted, reply, existing, device, override } = situation;
  if (existing !== undefined) return decideForLink(reply, existing, device);
  if (reply === 'encrypted-session') return { action: 'encrypt' };
  const offered =
    reply === 'raw' ? 'The hub offers only a raw stream to' : 'The hub offers only an unencrypted session to';
  if (trust === 'none' || allowUnencrypted)
    return { action: 'go-on-unencrypted', warning: `${offered} ${device}: the hub can read and change what is sent.` };
  const reason = trust === 'pin' ? 'whose key is pinned' : 'for which a fleet authority is set';
  const message = `${offered} ${device}, ${reason}: not connected. If the device really has no encryption, permit it with ${override}.`;
  return { action: 'refuse', message };
}

/** A session keeps its mode: no override changes that, because connections that were opened in it rely on it. */
function decideForLink(reply: StreamMode, existing: StreamMode, device: string): ServiceDecision {
  if (reply !== existing) {
    const message = `The session with ${device} is an ${WORDS[existing]}, and the hub's reply for its next link says ${WORDS[reply]}: dropped that link.`;
    return { action: 'drop-link', message };
  }
  if (reply === 'encrypted-session') return { action: 'encrypt' };
  return {
    action: 'go-on-unencrypted',
    warning: `The session with ${device} goes on: the hub can read and change what is sent.`,
  };
}

const WORDS: Readonly<Record<StreamMode, string>> = {
  raw: 'raw stream',
  session: 'unencrypted session',
  'encrypted-session': 'encrypted session',
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
  /** The name of the stream. `culvert-echo` is no exception: it would tell a hub that no one is authorised to ask. */
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
    return { action: 'reject', reason: `The session is an ${WORDS[existing]}, and this offer is an ${WORDS[offer]}.` };
  if (offer === 'encrypted-session' || !(hasAuthorizedServices || requireEncryption))
    return { action: 'accept', mode: offer };
  const what = offer === 'raw' ? 'a raw stream' : 'an unencrypted session';
  return {
    action: 'reject',
    reason: `This device accepts only encrypted sessions, and '${name}' was asked for by ${what}.`,
  };
}
