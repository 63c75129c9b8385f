/** The version of a device or module that a change expects. */
export interface EtagOptions {
  /** The `etag` as last read, without quotes: the change fails if the `etag` differs. Default: any version. */
  readonly etag?: string;
}

/** Returns the corresponding `If-Match` header. */
export function ifMatch({ etag }: EtagOptions): string {
  return etag === undefined || etag === '*' ? '*' : `"${etag}"`;
}
