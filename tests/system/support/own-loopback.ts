/**
 * A loopback address of this process alone: ports that clients cannot be told to change are free on it, whatever else runs on the
 * machine. Binding such a port takes root.
 */
export function ownLoopback(): string {
  return `127.3.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;
}
