/** The expected version of a device or module for a change. */
export interface EtagOptions {
  /** Its `etag` as last read, without quotes: fail if it has changed since. Default: whatever is there. */
  readonly etag?: string;
}

/** The corresponding `If-Match` header. */
export function ifMatch({ etag }: EtagOptions): string {
  return etag === undefined || etag === '*' ? '*' : `"${etag}"`;
}
