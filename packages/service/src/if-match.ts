/** Which version of a device or module a change is meant for. */
export interface EtagOptions {
  /** Its `etag` as last read, without quotes: fail if it has changed since. Default: whatever is there. */
  readonly etag?: string;
}

/** The header `If-Match` that says so. */
export function ifMatch({ etag }: EtagOptions): string {
  return etag === undefined || etag === '*' ? '*' : `"${etag}"`;
}
