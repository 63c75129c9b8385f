import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@culvert/stream';
import { registryConformance } from '@culvert/testkit';
import { describe, expect, it } from 'vitest';
import { openStore } from './open-store.ts';

registryConformance({ describe, it, expect }, async (listener) => {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-registry-'));
  const store = await openStore({ directory, listener, clock: systemClock });
  return {
    registry: store.registry,
    async close() {
      await store.close();
      await rm(directory, { recursive: true });
    },
  };
});
