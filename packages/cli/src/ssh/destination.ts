import { CulvertError, parseDeviceId } from '@culvert/protocol';

/** The user and the device of a `culvert ssh` command. */
export interface Destination {
  /** Undefined: ssh chooses the user, as for any host. */
  readonly user: string | undefined;
  readonly deviceId: string;
}

/**
 * Parses `[USER@]DEVICE`. The first `@` separates the two, since a device id may hold `@` and a user name on a device hardly ever does. For a
 * device id with `@` and no user, write `@DEVICE`, or give the user by `-l USER`; the whole text is then the device id.
 * @param login the value of `-l`
 * @throws CulvertError `argument_invalid`
 */
export function parseDestination(text: string, login?: string): Destination {
  const at = login === undefined ? text.indexOf('@') : -1;
  const user = login ?? (at > 0 ? text.slice(0, at) : undefined);
  if (user === '') throw new CulvertError('argument_invalid', 'the user name is empty');
  return { user, deviceId: parseDeviceId(text.slice(at + 1)) };
}
