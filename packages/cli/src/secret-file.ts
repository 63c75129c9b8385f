import { readFileSync, statSync } from 'node:fs';
import { CulvertError } from '@culvert/protocol';
import { fileProblem } from '@culvert/stream';
import { tell } from './messages.ts';

/** Maximum bytes of a file that may hold a connection string or certificates; a system's bundle of authorities has about 250 KB. */
const MAX_BYTES = 1_048_576;

/**
 * The first line that is not blank of a file that holds a connection string. Warns when other users may read the file.
 * @throws CulvertError `config_invalid` when it cannot be read or is empty
 */
export function readSecretFile(path: string, warn: (text: string) => void = tell): string {
  const text = readPrivateFile(path, warn);
  const line = text.split('\n').find((candidate) => candidate.trim() !== '');
  if (line === undefined)
    throw new CulvertError('config_invalid', `${path} is empty; it should hold a connection string`);
  return line.trim();
}

/**
 * A file that holds a private key in PEM form. Warns when other users may read the file.
 * @throws CulvertError `config_invalid` when it cannot be read or holds no key
 */
export function readKeyFile(path: string, warn: (text: string) => void = tell): string {
  const text = readPrivateFile(path, warn);
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text))
    throw new CulvertError('config_invalid', `${path} holds no private key in PEM form`);
  return text;
}

function readPrivateFile(path: string, warn: (text: string) => void): string {
  const text = readSmallFile(path);
  if ((statSync(path).mode & 0o077) !== 0)
    warn(`warning: others may read ${path}, which holds a key; run: chmod 600 ${path}`);
  return text;
}

/**
 * A file that holds one or more certificates in PEM form.
 * @throws CulvertError `config_invalid` when it cannot be read or holds no certificate
 */
export function readCertificateFile(path: string): string {
  const text = readSmallFile(path);
  if (!text.includes('-----BEGIN CERTIFICATE-----'))
    throw new CulvertError('config_invalid', `${path} holds no certificate in PEM form`);
  return text;
}

/**
 * A text file of at most 1 MiB.
 * @throws CulvertError `config_invalid`
 */
export function readSmallFile(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > MAX_BYTES) throw new CulvertError('config_invalid', `${path} is larger than 1 MiB`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw CulvertError.from(error, 'config_invalid', `cannot read ${path}: ${fileProblem(error)}`);
  }
}

/** Explains why a directory, or a file in it, cannot be created. */
export function directoryProblem(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'EROFS':
      return 'the file system is read-only';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not write there';
    // `recursive` could not create a parent directory: the file system is read-only or virtual (a home directory that does not exist).
    case 'ENOENT':
      return 'the folder above it does not exist and cannot be made';
    case 'EEXIST':
    case 'ENOTDIR':
      return 'a file of that name is in the way';
    case 'ENOSPC':
      return 'the disk is full';
    default:
      return fileProblem(error);
  }
}
