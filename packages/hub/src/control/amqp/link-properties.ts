import { CLIENT_VERSION, LIMITS, printable } from '@culvert/protocol';
import type { Receiver, Sender } from 'rhea';

/** What a peer said in the properties of its attach under this name, if it is a string. */
export function linkProperty({ properties }: Sender | Receiver, name: string): string | undefined {
  const value: unknown = typeof properties === 'object' && properties !== null ? properties[name] : undefined;
  return typeof value === 'string' ? value : undefined;
}

/** What software the peer says it is with this link: its own word, printable and cut, for logs only. */
export function clientVersionOf(link: Sender | Receiver): string | undefined {
  const said = linkProperty(link, CLIENT_VERSION);
  return said === undefined ? undefined : printable(said, LIMITS.clientVersionCharacters);
}
