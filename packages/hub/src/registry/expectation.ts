import { CulvertError, type ErrorCode } from '@culvert/protocol';
import type { Expectation } from './registry.ts';

/**
 * Holds what a writer expects against what there is.
 * @param missing the code when something was expected and there is nothing
 * @param exists the code when nothing was expected and there is something
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
