import type { Clock } from '@culvert/stream';
import { CertificateFiles } from './auth/certificate-files.ts';
import type { CertificateListener, CertificateSource } from './auth/certificate-source.ts';
import { OwnCertificate } from './auth/own-certificate.ts';
import type { HubConfig } from './config.ts';

/** Where the certificate comes from, and what clients need to know of it. */
export interface Certificates {
  readonly source: CertificateSource;
  /** The authority clients are to trust; undefined with an operator's own certificate. */
  readonly caFile: string | undefined;
  readonly notice: string | undefined;
}

/**
 * The operator's certificate files when configured, else the data directory's own authority.
 * @throws CulvertError `config_invalid`
 */
export async function openCertificates(
  config: Pick<HubConfig, 'tls' | 'dataDir'>,
  names: readonly string[],
  clock: Clock,
  listener: CertificateListener,
): Promise<Certificates> {
  if (config.tls !== undefined) {
    const source = await CertificateFiles.open({ ...config.tls, clock, listener });
    return { source, caFile: undefined, notice: undefined };
  }
  const source = await OwnCertificate.open({ directory: config.dataDir, names, clock, listener });
  return { source, caFile: source.caFile, notice: source.notice };
}
