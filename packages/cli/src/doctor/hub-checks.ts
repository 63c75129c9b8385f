import { CulvertError, type EndpointInformation } from '@culvert/protocol';
import type { Found } from './check.ts';
import { type HubProbe, nameOf } from './hub-probe.ts';

/** Warn this many days before a certificate ends: renewals are usually made 30 days before. */
const SOON_DAYS = 14;

/** Warn when the clocks differ by this many seconds; the `Date` header itself is wrong by up to one second. */
const SKEW_WARNING_S = 30;

const DAY_MS = 86_400_000;

/** Reports on the certificate and the TLS protocol version. */
export function certificateCheck({ chain, protocol, ms }: HubProbe, now: number): Found {
  const [leaf] = chain;
  if (leaf === undefined) throw new CulvertError('untrusted', 'No certificate was shown.');
  const names = chain.map(({ subject, subjectaltname }) => nameOf(subject) || subjectaltname || '?');
  const notAfter = new Date(leaf.valid_to);
  const days = Math.floor((notAfter.getTime() - now) / DAY_MS);
  const signer = nameOf(chain.at(-1)?.issuer) || '?';
  const found = `${protocol}; the certificate of ${names[0]}, signed by ${signer}, is good for ${days} more days`;
  const data = { ms, protocol, chain: names.join(' < '), signer, notAfter: notAfter.toISOString(), days };
  if (days >= SOON_DAYS) return { found, data };
  return { found, data, warning: true, advice: 'Let the hub’s administrator renew its certificate.' };
}

/** Checks whether the server that answered is a hub. */
export function endpointCheck({ status, body }: HubProbe): Found {
  const endpoints = parseEndpoints(body);
  if (status !== 200 || endpoints === undefined) {
    throw new CulvertError('protocol_error', `The server that answers there is not a hub (HTTP ${status}).`);
  }
  const { hostName, streamingEndpoints } = endpoints;
  return {
    found: `a hub that calls itself ${hostName}; streams go to ${streamingEndpoints.join(', ')}`,
    data: { hostName, streamingEndpoints: streamingEndpoints.join(' ') },
  };
}

/** Advice for a wrong clock. */
export const SET_CLOCK = 'Set the clock (NTP): tokens are made with this clock and checked with the hub’s.';

/**
 * The difference between this machine's clock and the hub's: tokens are made with the one and checked with the other. A difference is never a failure
 * here: where it matters, the hub refuses the credential.
 */
export function clockCheck({ date, ms }: HubProbe, receivedAt: number): Found {
  if (date === undefined) return { found: 'the hub does not send its time', warning: true };
  // The header has whole seconds, and was written half a round trip before it arrived.
  const seconds = Math.round((receivedAt - ms / 2 - (date + 500)) / 1000);
  const data = { seconds };
  if (Math.abs(seconds) < SKEW_WARNING_S) return { found: 'this clock and the hub’s agree', data };
  const found = `this clock is ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead of' : 'behind'} the hub’s`;
  return { found, data, warning: true, advice: SET_CLOCK };
}

/**
 * Checks whether the hub asks a device for its certificate on the connection that this program uses: the main port, with the host name of the
 * connection string. Undefined if the hub does not report it.
 */
export function certificateAskedCheck({ body }: HubProbe, host: string): Found | undefined {
  const asked = parseEndpoints(body)?.clientCertificates;
  if (asked === undefined) return undefined;
  if (asked.includes('listen') || asked.includes(host.toLowerCase())) return { found: 'the hub asks for one here' };
  const elsewhere = asked.length === 0 ? 'anywhere' : `here, only at ${asked.join(', ')}`;
  throw new CulvertError(
    'config_invalid',
    `The hub does not ask for a certificate ${elsewhere}, so this device cannot show its own.`,
  );
}

/** Advice: how to make the hub ask for certificates. */
export const MAKE_IT_ASK =
  'On the hub: culvert hub --client-certificates listen (clientCertificates in its file), or an advertised host name, which the device’s connection string then names.';

function parseEndpoints(body: string): EndpointInformation | undefined {
  try {
    const value = JSON.parse(body) as Partial<EndpointInformation> | null;
    if (typeof value?.hostName !== 'string' || !Array.isArray(value.streamingEndpoints)) return undefined;
    const { hostName, streamingEndpoints, clientCertificates } = value;
    const asked = Array.isArray(clientCertificates) ? { clientCertificates: clientCertificates.map(String) } : {};
    return { hostName, streamingEndpoints: streamingEndpoints.map(String), ...asked };
  } catch {
    return undefined;
  }
}
