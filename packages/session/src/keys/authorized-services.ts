import { CulvertError, printable } from '@culvert/protocol';
import { type Fingerprint, parseFingerprint } from './fingerprint.ts';
import { parseAuthorities } from './pem-certificates.ts';
import { readTextFile } from './private-file.ts';

/** Maximum bytes of the list: 10,000 fingerprints with comments. */
const MAX_BYTES = 1_048_576;

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';

/** The service sides that may open sessions to a device. An empty list lets nobody in. */
export interface AuthorizedServices {
  /** Of single keys. */
  readonly fingerprints: ReadonlySet<Fingerprint>;
  /** Certificates (PEM) of authorities: whoever has a certificate of theirs for this device may connect. They belong into the context of the link. */
  readonly authorities: readonly string[];
}

/**
 * Parses a list of authorised services: on each line a fingerprint, which a comment may follow, as `culvert trust` prints it; or a certificate of an
 * authority in PEM form. Blank lines and lines that begin with `#` are ignored.
 * @param text for a list in memory, its items joined by line breaks
 * @param where names the text in messages, such as the path of its file
 * @throws CulvertError `config_invalid`, which names the line: a typing error must neither let somebody in nor lock somebody out silently
 */
export function parseAuthorizedServices(text: string, where: string): AuthorizedServices {
  const fingerprints = new Set<Fingerprint>();
  const authorities: string[] = [];
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index++) {
    const line = (lines[index] ?? '').trim();
    const place = `line ${index + 1} of ${where}`;
    if (line === '' || line.startsWith('#')) continue;
    if (line === BEGIN) {
      const end = lines.findIndex((candidate, at) => at > index && candidate.trim() === END);
      if (end < 0) throw new CulvertError('config_invalid', `The certificate that begins on ${place} does not end.`);
      authorities.push(...parseAuthorities(lines.slice(index, end + 1).join('\n'), `PEM block on ${place}`));
      index = end;
    } else fingerprints.add(fingerprintOn(line, place));
  }
  // Checks their number.
  parseAuthorities(authorities.join('\n'), where);
  return { fingerprints, authorities };
}

function fingerprintOn(line: string, place: string): Fingerprint {
  try {
    return parseFingerprint(line.split(/[ \t]/)[0] ?? '');
  } catch (error) {
    const text = `The ${place} is neither a fingerprint (SHA256:…) nor a certificate: ${printable(line, 80)}`;
    throw new CulvertError('config_invalid', text, { cause: error });
  }
}

/**
 * Reads a list of authorised services from a file; see {@link parseAuthorizedServices}.
 * @throws CulvertError `config_invalid`, also when there is no such file
 */
export async function readAuthorizedServices(path: string): Promise<AuthorizedServices> {
  const text = await readTextFile(path, MAX_BYTES);
  if (text === undefined) throw new CulvertError('config_invalid', `Cannot read ${path}: there is no such file.`);
  return parseAuthorizedServices(text, path);
}
