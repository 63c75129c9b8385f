import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { certificateListeners, gatewayThreads, type HubConfig } from '../config/config.ts';
import { CertificateFiles } from './certificate-files.ts';
import type { CertificateListener, CertificateSource } from './certificate-source.ts';
import type { KeyPair } from './key-pair.ts';
import { OwnCertificate } from './self-issued-certificate.ts';

/** The hub's certificate and the file that clients need to trust it. */
export interface Certificates {
  readonly source: CertificateSource;
  /** The file with the authorities that clients must trust; undefined with an operator's certificate. */
  readonly caFile: string | undefined;
  readonly notice: string | undefined;
}

/**
 * Opens the operator's certificate files if configured, else the built-in authority in the data directory.
 * @throws CulvertError `config_invalid`
 */
export async function openCertificates(
  config: HubConfig,
  names: readonly string[],
  clock: Clock,
  listener: CertificateListener,
): Promise<Certificates> {
  if (config.tls !== undefined) {
    const source = await CertificateFiles.open({ ...config.tls, clock, listener });
    try {
      assertCovers(source.current, certificateListeners(config).hosts, 'clientCertificates');
      const { gatewayHost } = config;
      if (gatewayHost !== undefined) {
        assertCovers(source.current, new Set([gatewayThreads(config)?.name.host ?? gatewayHost]), 'gatewayHost');
      }
    } catch (error) {
      source.close();
      throw error;
    }
    return { source, caFile: undefined, notice: undefined };
  }
  const source = await OwnCertificate.open({ directory: config.dataDir, names, clock, listener });
  return { source, caFile: source.caFile, notice: source.notice };
}

/** Checks that the certificate covers every one of the hosts; otherwise the error would appear only on clients. */
function assertCovers({ cert, from }: KeyPair, hosts: ReadonlySet<string>, key: string): void {
  const certificate = new X509Certificate(cert);
  for (const host of hosts) {
    if ((isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) === undefined)
      throw new CulvertError('config_invalid', `The certificate in ${from} is not for '${host}' (${key}).`);
  }
}
