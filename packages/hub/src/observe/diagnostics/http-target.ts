import type { HttpPost } from '../http-post.ts';
import type { LogTarget } from '../resource-log/log-delivery.ts';
import type { LogRecord } from '../resource-log/log-entry.ts';
import { postBatch } from './post-batch.ts';

/** Posts records to an HTTP endpoint in Azure's format: `{"records":[…]}`. */
export class HttpTarget implements LogTarget {
  readonly #post: HttpPost;

  constructor(post: HttpPost) {
    this.#post = post;
  }

  async deliver(batch: readonly LogRecord[], signal: AbortSignal): Promise<number> {
    const answer = await postBatch(this.#post, recordsBody(batch), signal);
    return answer === undefined ? batch.length : 0;
  }

  close(): Promise<void> {
    return this.#post.close();
  }
}

/** Azure's body of many records. */
export function recordsBody(batch: readonly { readonly json: string }[]): string {
  return `{"records":[${batch.map(({ json }) => json).join(',')}]}`;
}
