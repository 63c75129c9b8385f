/**
 * Returns a loopback address used by this process only. Fixed ports of clients are free on it, whatever else runs on the machine.
 * Binding such a port requires root.
 */
export function ownLoopback(): string {
  return `127.3.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;
}
