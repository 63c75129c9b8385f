export type { DeviceRecord, Expectation, PolicyRecord, Registry, RegistryListener } from './registry/registry.ts';
