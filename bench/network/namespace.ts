import { readFileSync, writeFileSync } from 'node:fs';
import { run } from '../processes/child.ts';
import { findProgram } from '../processes/programs.ts';

/** Congestion control algorithms for TCP connections in the namespace, by preference: Linux's default, and the one that is always allowed in a namespace. */
const CONGESTION_CONTROLS = ['cubic', 'reno'] as const;

/** The kernel's setting for the congestion control of this namespace. */
export const CONGESTION_CONTROL_FILE = '/proc/sys/net/ipv4/tcp_congestion_control';

export const IP = findProgram('ip') ?? 'ip';

/**
 * Prepares the network namespace of this process for links whose packets pass a TUN device: all traffic stays on loopback addresses, and routing rules
 * with priority over the table of local addresses send the packets of chosen ports through the device. The settings end with the namespace.
 * @throws Error in a namespace that is in use, or on a kernel or in a container that does not allow it
 */
export async function prepareNamespace(): Promise<void> {
  const linksUp = await run({ command: IP, args: ['-oneline', 'link', 'show', 'up'] });
  if (linksUp.trim() !== '') throw new Error('this network namespace is in use: not touched');
  setCongestionControl();
  allowLoopbackOn('all');
  await run({ command: IP, args: ['link', 'set', 'lo', 'up'] });
  await run({ command: IP, args: ['rule', 'add', 'pref', '1000', 'lookup', 'local'] });
  await run({ command: IP, args: ['rule', 'del', 'pref', '0'] });
}

/** Lets the kernel accept packets from and to loopback addresses on a device that is not the loopback device. */
export function allowLoopbackOn(device: string): void {
  const settings = { route_localnet: '1', accept_local: '1', rp_filter: '0' };
  for (const [name, value] of Object.entries(settings)) {
    writeFileSync(`/proc/sys/net/ipv4/conf/${device}/${name}`, value);
  }
}

/** The congestion control of this namespace. */
export function congestionControl(): string {
  return readFileSync(CONGESTION_CONTROL_FILE, 'utf8').trim();
}

/** Sets the ports, `FIRST-LAST`, that programs in this namespace get when they ask for none. */
export function setPorts(range: string): void {
  writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', range.replace('-', ' '));
}

function setCongestionControl(): void {
  for (const name of CONGESTION_CONTROLS) {
    try {
      writeFileSync(CONGESTION_CONTROL_FILE, name);
      return;
    } catch (error) {
      if (name === CONGESTION_CONTROLS.at(-1)) throw error;
    }
  }
}
