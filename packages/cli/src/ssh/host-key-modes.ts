/**
 * What is done about a host key at the first contact: `ask` is ssh's own way; `hub` takes those that are registered with the hub, and asks where there are
 * none; `accept-new` takes whatever is shown. Later, and in any case, a key must be the one that was kept.
 */
export const HOST_KEY_MODES = ['ask', 'hub', 'accept-new'] as const;
export type HostKeyMode = (typeof HOST_KEY_MODES)[number];

/** ssh's option for a mode: none where ssh's own default, or what the user configured, is to hold. */
export function strictChecking(mode: HostKeyMode): readonly string[] {
  return mode === 'accept-new' ? ['StrictHostKeyChecking=accept-new'] : [];
}
