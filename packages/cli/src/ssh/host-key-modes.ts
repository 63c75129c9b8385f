/**
 * How a host key is accepted at the first contact: `ask` leaves it to ssh; `hub` accepts the keys that are registered with the hub, and asks if there
 * are none; `accept-new` accepts any key. After the first contact, in every mode, the key must be the stored one.
 */
export const HOST_KEY_MODES = ['ask', 'hub', 'accept-new'] as const;
export type HostKeyMode = (typeof HOST_KEY_MODES)[number];

/** ssh's option for a mode. No option where ssh's default, or the user's configuration, applies. */
export function strictChecking(mode: HostKeyMode): readonly string[] {
  return mode === 'accept-new' ? ['StrictHostKeyChecking=accept-new'] : [];
}
