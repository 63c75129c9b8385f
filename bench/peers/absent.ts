import type { Peer } from './peer.ts';
import { notInstalled } from './peer-directory.ts';

/** A peer that belongs in the comparison but could not be installed when this was written, so that nobody could try how to start it. */
export function absentPeer(name: string, title: string, file: string): Peer {
  const reason =
    'installed, but the bench does not know how to start it: its registry did not serve it when this was written';
  return {
    name,
    title,
    family: 'tunnel',
    missing: () => notInstalled(file, name) ?? reason,
    start: () => Promise.reject(new Error(reason)),
  };
}
