/** SQLite's primary result codes (sqlite.org/rescode.html) whose cause an operator can remove. */
export const SQLITE = {
  PERM: 3,
  BUSY: 5,
  LOCKED: 6,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  NOTADB: 26,
} as const;

/** The primary result code of an error thrown by `node:sqlite`; undefined for any other error. */
export function resultCode(error: unknown): number | undefined {
  const errcode = (error as { errcode?: unknown } | null)?.errcode;
  // The low byte of an extended code is its primary code.
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}

/** Whether the file itself is damaged, so that a retry would fail too. */
export function isDamaged(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE.CORRUPT || code === SQLITE.NOTADB;
}

/** Describes why SQLite failed, as a clause for an error message. */
export function sqliteProblem(error: unknown): string {
  switch (resultCode(error)) {
    case SQLITE.FULL:
      return 'the disk is full';
    case SQLITE.PERM:
    case SQLITE.READONLY:
    case SQLITE.CANTOPEN:
      return 'its file cannot be opened for writing';
    case SQLITE.BUSY:
    case SQLITE.LOCKED:
      return 'another program holds it locked';
    case SQLITE.CORRUPT:
    case SQLITE.NOTADB:
      return 'its file is damaged';
    case SQLITE.IOERR:
      return 'the disk reported an error or is full';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
