import { CulvertError, type ErrorCode } from '@culvert/protocol';
import type { Expectation } from './registry.ts';

/**
 * Checks a writer's expectation (If-Match, If-None-Match) against the current record.
 * @param missing the error code if a record was expected and none exists
 * @param exists the error code if no record was expected and one exists
 * @throws CulvertError `missing`, `exists`, `precondition_failed`
 */
export function assertExpected(
  existing: { readonly etag: string } | undefined,
  expected: Expectation,
  { missing, exists }: { missing: ErrorCode; exists: ErrorCode },
): void {
  if (expected.kind === 'absent') {
    if (existing !== undefined) throw new CulvertError(exists);
    return;
  }
  if (existing === undefined) throw new CulvertError(missing);
  if (expected.kind === 'etag' && expected.etag !== existing.etag) throw new CulvertError('precondition_failed');
}
