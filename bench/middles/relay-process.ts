import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { Child } from '../processes/child.ts';
import type { CertificateFiles } from './middle.ts';

/**
 * Starts a program of this folder that relays frames; `BENCH_NODE` and `BENCH_NODE_ARGUMENTS` select another Node and its arguments.
 * @param main the program's file
 * @param grantKey the public half of the key that signs grants
 */
export function relayProcess(
  main: string,
  certificate: CertificateFiles,
  grantKey: KeyObject,
  env: Readonly<Record<string, string>> = {},
): Child {
  const nodeArguments = (process.env['BENCH_NODE_ARGUMENTS'] ?? '').split(' ').filter(Boolean);
  return new Child({
    command: process.env['BENCH_NODE'] ?? process.execPath,
    args: ['--conditions=development', ...nodeArguments, join(import.meta.dirname, main)],
    env: {
      BENCH_CERT_FILE: certificate.certFile,
      BENCH_KEY_FILE: certificate.keyFile,
      BENCH_GRANT_KEY: JSON.stringify(grantKey.export({ format: 'jwk' })),
      ...env,
    },
  }).readOutput();
}
