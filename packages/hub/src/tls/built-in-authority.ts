import { X509Certificate } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { readIfThere, writeFileAtomic } from '../storage/atomic-file.ts';
import { openDataDirectory } from '../storage/data-directory.ts';
import type { HostName } from './host-name.ts';
import { permits } from './name-constraints.ts';

/** An authority of the data directory. Its private key is in `keyFile` and is read only to sign. */
export interface Authority {
  readonly certificate: X509Certificate;
  /** PEM. */
  readonly cert: string;
  readonly keyFile: string;
  readonly certFile: string;
}

/**
 * The authorities in `authority/` of the data directory that have not expired, newest first: `1.pem` and `1.key`, `2.pem`, ….
 * @throws CulvertError `config_invalid` when one of their certificate files is damaged
 */
export async function readAuthorities(directory: string, now: number): Promise<Authority[]> {
  const folder = join(directory, 'authority');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  openDataDirectory(folder);
  const numbers = authorityNumbers(await readdir(folder)).sort((a, b) => b - a);
  const found = await Promise.all(numbers.map((number) => readAuthority(folder, number)));
  return found.filter(({ certificate }) => certificate.validToDate.getTime() > now);
}

/** Creates another authority, constrained to these names. */
export async function addAuthority(directory: string, names: readonly HostName[], now: number): Promise<Authority> {
  const folder = join(directory, 'authority');
  const number = Math.max(0, ...authorityNumbers(await readdir(folder))) + 1;
  const { issueAuthority } = await import('./certificate-issuer.ts');
  const { cert, key } = await issueAuthority(names, now);
  // The key is written first, because an authority exists as soon as its certificate file does.
  await writeFileAtomic(join(folder, `${number}.key`), key, 0o600);
  await writeFileAtomic(join(folder, `${number}.pem`), cert, 0o600);
  return readAuthority(folder, number);
}

/**
 * Returns the authority, with its certificate reissued if it becomes valid later than the epoch, as those of earlier versions do: clients compare the
 * start of validity of both certificates with their clocks.
 * @throws CulvertError `config_invalid` when the authority's key is missing
 */
export async function withEarlyBegin(authority: Authority): Promise<Authority> {
  if (authority.certificate.validFromDate.getTime() === 0) return authority;
  const { reissueAuthority } = await import('./certificate-issuer.ts');
  const cert = await reissueAuthority({ cert: authority.cert, key: await authorityKey(authority) });
  await writeFileAtomic(authority.certFile, cert, 0o600);
  return { ...authority, certificate: new X509Certificate(cert), cert };
}

/** Reads the authority's private key. @throws CulvertError `config_invalid` when the key file is missing */
export async function authorityKey({ keyFile }: Authority): Promise<string> {
  const key = await readIfThere(keyFile);
  if (key === undefined) throw new CulvertError('config_invalid', `${keyFile} is missing: restore it.`);
  return key;
}

/** Whether the authority may sign for all the names and is valid at least until `until` (milliseconds since the epoch). */
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
      `${file} is damaged: restore it, or remove it to get a new authority (clients then need the new ca.pem).`,
      { cause: error },
    );
  }
}
