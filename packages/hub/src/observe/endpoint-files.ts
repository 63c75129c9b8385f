import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { CulvertError } from '@culvert/protocol';
import { fileProblem } from '@culvert/stream';

/** Maximum bytes of a file with headers or certificates. */
const MAX_FILE_BYTES = 262_144;

/**
 * Reads a file of secret headers, one `Name: value` per line. Empty lines and lines that begin with `#` are skipped.
 * @throws CulvertError `config_invalid`, with the number of the wrong line but never its content
 */
export function readHeadersFile(file: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [index, line] of read(file).split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).trim();
    const value = line.slice(colon + 1).trim();
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      throw new CulvertError('config_invalid', `Line ${index + 1} of ${file} is not NAME: VALUE.`);
    }
    headers[name] = value;
  }
  return headers;
}

/**
 * Reads a file of certificates in PEM form.
 * @throws CulvertError `config_invalid` if the file cannot be read or contains no certificate
 */
export function readCaFile(file: string): string {
  const pem = read(file);
  try {
    new X509Certificate(pem);
  } catch {
    throw new CulvertError('config_invalid', `${file} holds no certificate in PEM form.`);
  }
  return pem;
}

function read(file: string): string {
  try {
    if (statSync(file).size <= MAX_FILE_BYTES) return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CulvertError('config_invalid', `${file} cannot be read: ${fileProblem(error)}.`, { cause: error });
  }
  throw new CulvertError('config_invalid', `${file} is longer than ${MAX_FILE_BYTES} bytes.`);
}
