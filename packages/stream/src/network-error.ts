import { CulvertError } from '@culvert/protocol';

/** Errors of OpenSSL and Node that occur if the hub's CA is not trusted: the fix is to pass that CA's certificate. */
const CERTIFICATE_ADVICE: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'comes from an authority this machine does not know',
  UNABLE_TO_GET_ISSUER_CERT: 'comes from an authority this machine does not know',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'comes from an authority this machine does not know',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'comes from an authority this machine does not know',
  CERT_UNTRUSTED: 'comes from an authority this machine does not know',
  CERT_SIGNATURE_FAILURE: 'was not signed by the authority it names',
};

/** Errors of OpenSSL and Node for a certificate that is invalid itself. */
const CERTIFICATE_FAULTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'has expired; renew it, or set the clock of this machine',
  CERT_NOT_YET_VALID: 'is not valid yet; set the clock of this machine',
  ERR_TLS_CERT_ALTNAME_INVALID: 'is for another name; use a name that the certificate holds',
  HOSTNAME_MISMATCH: 'is for another name; use a name that the certificate holds',
  IP_ADDRESS_MISMATCH: 'is for another address; use a name that the certificate holds',
  CERT_REVOKED: 'was revoked',
  CERT_REJECTED: 'was rejected',
  CERT_CHAIN_TOO_LONG: 'has too long a chain',
  INVALID_CA: 'comes from an authority that may not issue it',
  INVALID_PURPOSE: 'may not be used by a server',
  PATH_LENGTH_EXCEEDED: 'has too long a chain',
};

const NETWORK_FAULTS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name could not be looked up now',
  EAI_FAIL: 'the name could not be looked up',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  ECONNABORTED: 'the connection was cut',
  ETIMEDOUT: 'there was no answer',
  EHOSTUNREACH: 'there is no route to that address',
  ENETUNREACH: 'there is no route to that network',
  EHOSTDOWN: 'that machine is down',
  ENETDOWN: 'the network is down',
  EADDRNOTAVAIL: 'the address is not available',
  EACCES: 'this machine does not permit it',
  EPERM: 'this machine does not permit it',
  EMFILE: 'this process has too many open files',
  EPROTO: 'TLS failed there',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it requires a client certificate',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'it and this program support no common TLS version',
};

/**
 * Converts the error of a failed connection: `untrusted` if the certificate was rejected, with a message that includes advice where there is
 * any; `aborted` for an `AbortError`; else `unreachable`. A CulvertError is returned unchanged.
 * @param where the address that was dialled, such as `hub.example:443`. It becomes part of the message, so it must not contain credentials
 */
export function networkError(error: unknown, where: string): CulvertError {
  if (error instanceof CulvertError) return error;
  const first = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  const code = codeOf(first);
  const options = { cause: withoutDetails(first) };
  if (code === 'ABORT_ERR') return new CulvertError('aborted', undefined, options);
  const advice = CERTIFICATE_ADVICE[code];
  if (advice !== undefined) {
    const text = `The certificate of ${where} ${advice}: pass the hub's CA certificate (--ca-file, or \`ca\` in the SDKs).`;
    return new CulvertError('untrusted', text, options);
  }
  const fault = CERTIFICATE_FAULTS[code];
  // Errors to which Node gives no code of their own, such as a violated name constraint: the message contains OpenSSL's text.
  if (code === 'UNSPECIFIED')
    return new CulvertError('untrusted', `The certificate of ${where} is not valid: ${messageOf(first)}.`, options);
  if (fault !== undefined)
    return new CulvertError('untrusted', `The certificate of ${where} ${fault} (${code}).`, options);
  return new CulvertError('unreachable', `${where} could not be reached: ${networkFault(first)}.`, options);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** Describes why a connection failed, as a phrase with Node's error code: `nothing listens there (ECONNREFUSED)`. */
export function networkFault(error: unknown): string {
  const code = codeOf(error);
  const fault = NETWORK_FAULTS[code];
  if (fault !== undefined) return `${fault} (${code})`;
  if (code.startsWith('ERR_SSL_')) return `TLS failed there (${code})`;
  if (code.startsWith('HPE_')) return `it does not speak HTTP (${code})`;
  return messageOf(error) + (code === '' ? '' : ` (${code})`);
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\.$/, '');
}

/** Removes the options that errors of the SOCKS client contain: they include the password, which would appear if the cause is printed. */
function withoutDetails(error: unknown): unknown {
  return error instanceof Error && 'options' in error ? new Error(error.message) : error;
}
