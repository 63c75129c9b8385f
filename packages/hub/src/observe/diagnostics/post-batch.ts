import type { HttpPost } from '../http-post.ts';
import { RetryLater } from '../resource-log/log-delivery.ts';

/** Statuses that the same batch would get every time; all others may change once the endpoint is repaired. */
const REFUSED_FOR_GOOD: ReadonlySet<number> = new Set([400, 413, 415, 422]);

/**
 * Posts a batch of records.
 * @returns the response body; undefined when the endpoint permanently refuses this batch
 * @throws CulvertError as {@link HttpPost.post}; {@link RetryLater}; an error with the status when it may be different later
 */
export async function postBatch(to: HttpPost, batch: string, signal: AbortSignal): Promise<string | undefined> {
  const { status, retryAfterMs, body } = await to.post(batch, signal);
  if (status >= 200 && status <= 299) return body;
  if (REFUSED_FOR_GOOD.has(status)) return undefined;
  const problem = `${to.host} answered with status ${status}`;
  throw retryAfterMs === undefined ? new Error(problem) : new RetryLater(problem, retryAfterMs);
}
