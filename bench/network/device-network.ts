import { join } from 'node:path';
import { Child, type CommandLine, run } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';
import type { Link } from '../traffic/link.ts';
import { allowLoopbackOn, congestionControl, IP, setPorts } from './namespace.ts';

/** A network of the device's own, and the link between it and everything else. */
export interface DeviceNetwork {
  /** Returns how to start a program on the device. */
  onDevice(line: CommandLine): CommandLine;
  /** Returns the link for the programs of one peer, which share it with those of the other peers. */
  link(): Link;
  stop(): Promise<void>;
}

/** The link of the device. */
export interface Shape {
  readonly roundTripMs: number;
  /** In each direction. */
  readonly megabitsPerSecond: number;
  /** Milliseconds that a packet may wait for those before it; one that had to wait longer is dropped. */
  readonly queueMs: number;
}

/** MTU in bytes, as on Ethernet. */
const MTU = '1500';
/** Number of the routing table in both namespaces, and of its first rule. */
const TABLE = 100;
const DEVICE = 'culvert0';
/** Ports that programs get when they ask for none: by them the answers to the device are told from those to programs beside the middle. */
const PORTS = { device: '30000-60999', others: '10000-29999' } as const;
/** Settings of the device's namespace, as `prepareNamespace` makes them in this one. */
const loopbackOn = (device: string): string =>
  ['route_localnet=1', 'accept_local=1', 'rp_filter=0']
    .map((setting) => setting.split('='))
    .map(([name, value]) => `echo ${value} > /proc/sys/net/ipv4/conf/${device}/${name}`)
    .join(' && ');

/**
 * Makes a network namespace for the device, connected with this one by a link of limited rate: real packets, through TUN devices at both of its ends. All addresses
 * stay loopback addresses. It works only in a namespace prepared by `prepareNamespace`, and once in it.
 */
export async function shapedDeviceNetwork({ roundTripMs, megabitsPerSecond, queueMs }: Shape): Promise<DeviceNetwork> {
  const holder = new Child({ command: findProgram('unshare') ?? 'unshare', args: ['--net', 'sh', '-c', HOLD] });
  holder.readOutput();
  await holder.ready(/made/);
  const onDevice = ({ command, args, env }: CommandLine): CommandLine => ({
    command: findProgram('nsenter') ?? 'nsenter',
    args: [`--net=/proc/${holder.pid}/ns/net`, command, ...args],
    ...(env === undefined ? {} : { env }),
  });
  const there = (script: string): Promise<string> => run(onDevice({ command: 'sh', args: ['-ec', script] }));
  const here = (line: string): Promise<string> => run({ command: IP, args: line.split(' ') });
  setPorts(PORTS.others);
  await there(
    [
      `echo ${PORTS.device.replace('-', ' ')} > /proc/sys/net/ipv4/ip_local_port_range`,
      `echo ${congestionControl()} > /proc/sys/net/ipv4/tcp_congestion_control`,
      loopbackOn('all'),
      `${IP} link set lo up`,
      `${IP} rule add pref 1000 lookup local`,
      `${IP} rule del pref 0`,
    ].join('\n'),
  );
  const script = join(import.meta.dirname, 'shaped-link.py');
  const shape = [roundTripMs / 2, megabitsPerSecond, queueMs].map(String);
  const relay = new Child({
    command: findProgram('python3') ?? 'python3',
    args: [script, DEVICE, String(holder.pid), ...shape],
  }).readOutput();
  const stop = async (): Promise<void> => {
    await relay.stop();
    await holder.stop();
  };
  try {
    await relay.ready(/attached/);
    const lines = [
      `link set ${DEVICE} up mtu ${MTU}`,
      `route add 127.0.0.0/8 dev ${DEVICE} src 127.0.0.1 table ${TABLE}`,
    ];
    allowLoopbackOn(DEVICE);
    for (const line of lines) await here(line);
    await there([loopbackOn(DEVICE), ...lines.map((line) => `${IP} ${line}`)].join('\n'));
  } catch (error) {
    await stop();
    throw error;
  }
  let rules = 0;
  const through: Link['through'] = async (port, _legs, server = 'middle') => {
    const rule = `rule add pref ${TABLE + rules++} iif lo ipproto tcp`;
    const [toServer, toClient] = [
      `${rule} dport ${port} lookup ${TABLE}`,
      `${rule} sport ${port} dport ${server === 'middle' ? PORTS.device : PORTS.others} lookup ${TABLE}`,
    ];
    await here(server === 'middle' ? toClient : toServer);
    await there(`${IP} ${server === 'middle' ? toServer : toClient}`);
    return port;
  };
  return { onDevice, link: () => ({ through, onDevice, stop: () => Promise.resolve() }), stop };
}

/** Keeps a namespace until its standard input ends, which it does with the bench however that ends. */
const HOLD = 'echo made && exec cat';
