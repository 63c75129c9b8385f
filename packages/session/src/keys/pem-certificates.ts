import { X509Certificate } from 'node:crypto';
import { CulvertError } from '@culvert/protocol';

/** Maximum authorities of one end: an old one, a new one, and one for each of a few fleets. */
const MAX_AUTHORITIES = 16;

const BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/**
 * The certificates of authorities in PEM text.
 * @param where names the text in messages, such as the path of its file
 * @returns PEM, one for each
 * @throws CulvertError `config_invalid` when one cannot be read or is not that of an authority, or there are more than 16
 */
export function parseAuthorities(pem: string, where: string): string[] {
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length > MAX_AUTHORITIES)
    throw new CulvertError(
      'config_invalid',
      `${where} holds more than ${MAX_AUTHORITIES} certificates of authorities.`,
    );
  for (const [index, block] of blocks.entries()) {
    const which = `certificate ${index + 1} in ${where}`;
    if (!isAuthority(block, which))
      throw new CulvertError('config_invalid', `The ${which} is not that of an authority (basic constraints).`);
  }
  return [...blocks];
}

function isAuthority(block: string, which: string): boolean {
  try {
    return new X509Certificate(block).ca;
  } catch (error) {
    throw new CulvertError('config_invalid', `The ${which} cannot be read.`, { cause: error });
  }
}
