import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';

/** A directory for one test's files, removed at its end. Its path is short: Unix sockets may lie in it. */
export function scratch(cleanup: Cleanup): string {
  return cleanup.defer(mkdtempSync(join(tmpdir(), 'culvert-')), (path) =>
    rmSync(path, { recursive: true, force: true }),
  );
}
