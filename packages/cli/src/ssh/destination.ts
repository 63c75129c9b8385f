import { CulvertError, parseDeviceId } from '@culvert/protocol';

/** Whom `culvert ssh` logs in as, and where. */
export interface Destination {
  /** Undefined: ssh decides, as for any host. */
  readonly user: string | undefined;
  readonly deviceId: string;
}

/**
 * Reads `[USER@]DEVICE`. A device id may hold `@`, a user's name on a device hardly ever does, so the first `@` separates; for a
 * device whose id holds one and no user, write `@DEVICE`, or name the user by `-l USER`, which leaves DEVICE whole.
 * @param login what `-l` gave
 * @throws CulvertError `argument_invalid`
 */
export function parseDestination(text: string, login?: string): Destination {
  const at = login === undefined ? text.indexOf('@') : -1;
  const user = login ?? (at > 0 ? text.slice(0, at) : undefined);
  if (user === '') throw new CulvertError('argument_invalid', 'the user name is empty');
  return { user, deviceId: parseDeviceId(text.slice(at + 1)) };
}
