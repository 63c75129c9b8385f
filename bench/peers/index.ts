import { observedHubs } from '../hubs/observed-hubs.ts';
import { culvertGateway, wsRelay } from '../middles/frame-relays.ts';
import { gatewayThreads } from '../middles/gateway-threads.ts';
import { haproxy, nginx } from '../middles/tls-proxy.ts';
import { absentPeer } from './absent.ts';
import { culvertRaw, encryptedSession, session } from './culvert.ts';
import { devTunnels } from './dev-tunnels.ts';
import type { Peer } from './peer.ts';
import { plainTcp } from './plain-tcp.ts';
import { rathole } from './rathole.ts';
import { sshPeer } from './ssh-l-r.ts';

/** Every peer, in the order of the tables. To add a peer, add a file beside this one and a line here. */
export const PEERS: readonly Peer[] = [
  plainTcp,
  sshPeer('ssh-l-r'),
  sshPeer('ssh-l-r-aes', 'aes128-gcm@openssh.com'),
  devTunnels,
  rathole,
  absentPeer('chisel', 'chisel, client and client over one server, with TLS', 'bin/chisel'),
  absentPeer('frp', 'frp, an stcp proxy and its visitor over one frps, with TLS', 'bin/frps'),
  absentPeer('wstunnel', 'wstunnel, two clients over one server, with TLS', 'bin/wstunnel'),
  absentPeer('piko', 'piko agent and piko forward over one server, with TLS', 'bin/piko'),
  culvertRaw,
  session,
  encryptedSession,
  haproxy,
  nginx,
  wsRelay,
  culvertGateway,
  ...observedHubs,
  ...gatewayThreads,
];

/** The peer over which added times are measured. */
export const FLOOR = plainTcp.name;
/** The default tunnel that ratios are computed against. */
export const BASELINE = 'ssh-l-r';
