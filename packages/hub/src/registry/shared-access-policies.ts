import { randomBytes } from 'node:crypto';
import { PERMISSIONS, type Permission } from '@culvert/protocol';

/** The shared access policies of every hub and their permissions: Azure's five, and `monitor`, a Culvert extension. */
export const SHARED_ACCESS_POLICIES: Readonly<Record<string, readonly Permission[]>> = {
  iothubowner: PERMISSIONS,
  service: ['ServiceConnect'],
  device: ['DeviceConnect'],
  registryRead: ['RegistryRead'],
  registryReadWrite: ['RegistryRead', 'RegistryWrite'],
  // Not RegistryRead: it reveals the devices' keys, and an observer must not be able to impersonate a device.
  monitor: ['MonitorRead'],
};

/** Creates a key: 32 random bytes in base64. */
export function newKey(): string {
  return randomBytes(32).toString('base64');
}
