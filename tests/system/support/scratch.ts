import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cleanup } from './cleanup.ts';

/** Creates a directory for one test's files, removed at the end of the test. Its path is short enough for Unix sockets in it. */
export function scratch(cleanup: Cleanup): string {
  return cleanup.defer(mkdtempSync(join(tmpdir(), 'culvert-')), (path) =>
    rmSync(path, { recursive: true, force: true }),
  );
}
