import { X509Certificate } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { readIfThere, writeFileAtomic } from '../storage/atomic-file.ts';
import { openDataDirectory } from '../storage/data-directory.ts';
import type { HostName } from './host-name.ts';
import { permits } from './name-constraints.ts';

/** An authority of the data directory. Its key is in `keyFile` and leaves it only to sign. */
export interface Authority {
  readonly certificate: X509Certificate;
  /** PEM. */
  readonly cert: string;
  readonly keyFile: string;
  readonly certFile: string;
}

/**
 * The authorities in `authority/` of the data directory that have not expired, newest first: `1.pem` and `1.key`, `2.pem`, ….
 * @throws CulvertError `config_invalid` when a file of theirs is damaged
 */
export async function readAuthorities(directory: string, now: number): Promise<Authority[]> {
  const folder = join(directory, 'authority');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  openDataDirectory(folder);
  const numbers = authorityNumbers(await readdir(folder)).sort((a, b) => b - a);
  const found = await Promise.all(numbers.map((number) => readAuthority(folder, number)));
  return found.filter(({ certificate }) => certificate.validToDate.getTime() > now);
}

/** Makes one more authority, for these names. */
export async function addAuthority(directory: string, names: readonly HostName[], now: number): Promise<Authority> {
  const folder = join(directory, 'authority');
  const number = Math.max(0, ...authorityNumbers(await readdir(folder))) + 1;
  const { issueAuthority } = await import('./certificate-issuer.ts');
  const { cert, key } = await issueAuthority(names, now);
  // The key first: an authority counts from its certificate on.
  await writeFileAtomic(join(folder, `${number}.key`), key, 0o600);
  await writeFileAtomic(join(folder, `${number}.pem`), cert, 0o600);
  return readAuthority(folder, number);
}

/**
 * The authority, its certificate made again where it begins later than with the epoch, as those of earlier versions do: clients check both
 * certificates against their clocks.
 * @throws CulvertError `config_invalid` when its key is missing
 */
export async function withEarlyBegin(authority: Authority): Promise<Authority> {
  if (authority.certificate.validFromDate.getTime() === 0) return authority;
  const { reissueAuthority } = await import('./certificate-issuer.ts');
  const cert = await reissueAuthority({ cert: authority.cert, key: await authorityKey(authority) });
  await writeFileAtomic(authority.certFile, cert, 0o600);
  return { ...authority, certificate: new X509Certificate(cert), cert };
}

/** @throws CulvertError `config_invalid` when it is missing */
export async function authorityKey({ keyFile }: Authority): Promise<string> {
  const key = await readIfThere(keyFile);
  if (key === undefined) throw new CulvertError('config_invalid', `${keyFile} is missing: restore it.`);
  return key;
}

/** Whether the authority may sign for all the names and lives until `until` (milliseconds since the epoch). */
export function covers(authority: Authority, names: readonly HostName[], until: number): boolean {
  const { raw, validToDate } = authority.certificate;
  return validToDate.getTime() >= until && names.every((name) => permits(raw, name));
}

function authorityNumbers(files: readonly string[]): number[] {
  return files.filter((file) => /^[1-9]\d{0,5}\.pem$/.test(file)).map((file) => Number.parseInt(file, 10));
}

async function readAuthority(folder: string, number: number): Promise<Authority> {
  const file = join(folder, `${number}.pem`);
  const cert = (await readIfThere(file)) ?? '';
  try {
    return { certificate: new X509Certificate(cert), cert, certFile: file, keyFile: join(folder, `${number}.key`) };
  } catch (error) {
    throw new CulvertError(
      'config_invalid',
      `${file} is damaged: restore it, or remove it to have a new authority made (clients then need the new ca.pem).`,
      { cause: error },
    );
  }
}
