import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@culvert/stream';
import { authorityConformance, registryConformance } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { openStore, type Store } from './open-store.ts';
import type { RegistryListener } from './registry.ts';

async function make(listener: RegistryListener): Promise<Pick<Store, 'registry' | 'authorities' | 'close'>> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-registry-'));
  const store = await openStore({ directory, listener, clock: systemClock });
  return {
    registry: store.registry,
    authorities: store.authorities,
    async close() {
      await store.close();
      await rm(directory, { recursive: true });
    },
  };
}

registryConformance({ describe, it, expect }, make);
authorityConformance({ describe, it, expect }, make);
