import { type DeviceIdentity, identityName, type ModuleIdentity } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import { tell } from './messages.ts';

/**
 * Warns when an identity that has been registered proves itself by a certificate and the hub asks for certificates nowhere: it could never show it.
 * Silent where the hub does not tell.
 */
export async function warnUnlessAsked(
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
