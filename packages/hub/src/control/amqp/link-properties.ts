import { CLIENT_VERSION, LIMITS, printable } from '@culvert/protocol';
import type { Receiver, Sender } from 'rhea';

/** The property of this name in the peer's attach, if it is a string. */
export function linkProperty({ properties }: Sender | Receiver, name: string): string | undefined {
  const value: unknown = typeof properties === 'object' && properties !== null ? properties[name] : undefined;
  return typeof value === 'string' ? value : undefined;
}

/** The client software that the peer names in this link's properties, made printable and cut. Unverified, for logs only. */
export function clientVersionOf(link: Sender | Receiver): string | undefined {
  const version = linkProperty(link, CLIENT_VERSION);
  return version === undefined ? undefined : printable(version, LIMITS.clientVersionCharacters);
}
