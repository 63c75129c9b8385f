import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** One file of the audit log. Its name begins with the sequence number of its first record, so that sorted names are in the order of the chain. */
export interface SegmentFile {
  readonly path: string;
  readonly name: string;
  readonly firstSeq: number;
  /** The day (UTC) of its first record, `YYYY-MM-DD`. */
  readonly day: string;
}

const NAME = /^(\d{12})-(\d{4}-\d{2}-\d{2})\.jsonl$/;

/** The file that begins with record `firstSeq`, recorded at `at` (milliseconds since the epoch). */
export function segmentFile(directory: string, firstSeq: number, at: number): SegmentFile {
  const day = dayOf(at);
  const name = `${String(firstSeq).padStart(12, '0')}-${day}.jsonl`;
  return { path: join(directory, name), name, firstSeq, day };
}

/** The day (UTC) of a time in milliseconds since the epoch. */
export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** All files of the audit log in `directory`, in the order of the chain. */
export async function listSegments(directory: string): Promise<SegmentFile[]> {
  const names = (await readdir(directory)).sort();
  return names.flatMap((name) => {
    const [, seq, day] = NAME.exec(name) ?? [];
    return seq === undefined || day === undefined
      ? []
      : [{ path: join(directory, name), name, firstSeq: Number(seq), day }];
  });
}
