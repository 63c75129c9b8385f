import { createReadStream } from 'node:fs';

/** Bytes of the longest line whose text is read; a record is shorter than 16 KiB. */
const MAX_LINE_BYTES = 1_048_576;

/** A line of a file, without its newline. */
export interface Line {
  /** The line's text; undefined if it is not UTF-8 or is longer than 1 MiB. */
  readonly text: string | undefined;
  /** False for text after the last newline of the file. */
  readonly complete: boolean;
}

/** Reads the lines of a file. Only LF ends a line, because the text of a record may contain the other Unicode line separators. */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let rest: Buffer = Buffer.alloc(0);
  let tooLong = false;
  const line = (bytes: Buffer, complete: boolean): Line => {
    const whole = !tooLong && bytes.length <= MAX_LINE_BYTES;
    tooLong = false;
    return { text: whole ? decoded(decoder, bytes) : undefined, complete };
  };
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a)) {
      yield line(bytes.subarray(0, end), true);
      bytes = bytes.subarray(end + 1);
    }
    if (bytes.length > MAX_LINE_BYTES) tooLong = true;
    rest = tooLong ? Buffer.alloc(0) : bytes;
  }
  if (rest.length > 0 || tooLong) yield line(rest, false);
}

function decoded(decoder: InstanceType<typeof TextDecoder>, bytes: Buffer): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
