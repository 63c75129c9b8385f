import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testCertificate } from '@culvert/testkit';
import type { CertificateFiles } from './middle.ts';

/** Creates a certificate and writes it to a workspace. */
export async function certificateFiles(workspace: string): Promise<CertificateFiles> {
  const certificate = await testCertificate();
  const write = (name: string, content: string): string => {
    const file = join(workspace, name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  };
  return {
    ...certificate,
    certFile: write('cert.pem', certificate.cert),
    keyFile: write('key.pem', certificate.key),
    bothFile: write('both.pem', `${certificate.cert}\n${certificate.key}\n`),
  };
}
