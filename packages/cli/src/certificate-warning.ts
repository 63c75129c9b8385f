import { type DeviceIdentity, identityName, type ModuleIdentity } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { tell } from './messages.ts';

/**
 * Warns when an identity is registered with a certificate but no listener of the hub asks for certificates: the device could never present its
 * certificate. Prints nothing if the hub does not report which listeners ask.
 */
export async function warnIfCertificateNeverAsked(
  client: Pick<ServiceClient, 'endpoints'>,
  identity: DeviceIdentity | ModuleIdentity,
  warn: (text: string) => void = tell,
): Promise<void> {
  const { type } = identity.authentication;
  if (type !== 'selfSigned' && type !== 'certificateAuthority') return;
  const { clientCertificates } = await client.endpoints();
  if (clientCertificates === undefined || clientCertificates.length > 0) return;
  warn(
    `warning: this hub asks for certificates nowhere, so ${identityName(identity)} cannot show its own: start it with --client-certificates listen (clientCertificates in its file), or name mqttListen, amqpListen or an advertised host there`,
  );
}
