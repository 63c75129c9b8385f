import { randomBytes } from 'node:crypto';
import { PERMISSIONS, type Permission } from '@culvert/protocol';

/** The shared access policies every hub has, and what each permits (the preview's five, and `monitor`, which is ours). */
export const SHARED_ACCESS_POLICIES: Readonly<Record<string, readonly Permission[]>> = {
  iothubowner: PERMISSIONS,
  service: ['ServiceConnect'],
  device: ['DeviceConnect'],
  registryRead: ['RegistryRead'],
  registryReadWrite: ['RegistryRead', 'RegistryWrite'],
  // Not RegistryRead: it shows the devices' keys, and who looks on must not become a device.
  monitor: ['MonitorRead'],
};

/** A new key: 32 random bytes in base64. */
export function newKey(): string {
  return randomBytes(32).toString('base64');
}
