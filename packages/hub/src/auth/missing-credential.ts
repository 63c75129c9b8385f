import { CulvertError } from '@culvert/protocol';

/**
 * The refusal of a device that showed neither token nor certificate. Where nobody is asked for one, a device that has one cannot show it: then it
 * says so, and how that is changed.
 * @param asked whether the client was asked for a certificate; default true
 */
export function missingCredential(asked = true): CulvertError {
  const unasked =
    ' This listener asks no client for a certificate: to let in devices by theirs, name it in the hub’s clientCertificates (culvert hub --client-certificates).';
  return new CulvertError('unauthorized', `Neither a token nor a certificate was shown.${asked ? '' : unasked}`);
}
