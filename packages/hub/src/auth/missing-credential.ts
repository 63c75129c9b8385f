import { CulvertError } from '@culvert/protocol';

/**
 * The error for a device that presented neither a token nor a certificate. A device cannot present its certificate where none is requested; the message then
 * says so and names the setting that changes it.
 * @param asked whether a certificate was requested from the client; default true
 */
export function missingCredential(asked = true): CulvertError {
  const unasked =
    ' This listener asks no client for a certificate: to let in devices by theirs, name it in the hub’s clientCertificates (culvert hub --client-certificates).';
  return new CulvertError('unauthorized', `Neither a token nor a certificate was shown.${asked ? '' : unasked}`);
}
