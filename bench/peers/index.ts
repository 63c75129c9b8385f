import { culvertGateway, wsRelay } from '../middles/frame-relays.ts';
import { haproxy, nginx } from '../middles/tls-proxy.ts';
import { culvert } from './culvert.ts';
import type { Peer } from './peer.ts';
import { plainTcp } from './plain-tcp.ts';
import { sshPeer } from './ssh-l-r.ts';

/** Every peer, in the order of the tables. A new one is a file beside this one and a line here. */
export const PEERS: readonly Peer[] = [
  plainTcp,
  sshPeer('ssh-l-r'),
  sshPeer('ssh-l-r-aes', 'aes128-gcm@openssh.com'),
  culvert,
  haproxy,
  nginx,
  wsRelay,
  culvertGateway,
];

/** The peer that added times are measured over. */
export const FLOOR = plainTcp.name;
/** The tunnel that ratios are told against, unless another is chosen. */
export const BASELINE = 'ssh-l-r';
