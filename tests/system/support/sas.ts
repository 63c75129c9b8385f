import { formatAuthority, parseDeviceConnectionString, signSasToken } from '@culvert/protocol';

/** Unix time in seconds, `offset` seconds from now. */
export const seconds = (offset = 0): number => Math.floor(Date.now() / 1000) + offset;

/** The options with which any MQTT client connects as a device, made from a connection string. */
export interface MqttCredentials {
  readonly deviceId: string;
  readonly username: string;
  readonly password: string;
}

/** Returns the credentials of a device; `expiry` is in Unix seconds, an hour from now by default. */
export async function mqttCredentials(connectionString: string, expiry = seconds(3600)): Promise<MqttCredentials> {
  const { host, port, deviceId, key } = parseDeviceConnectionString(connectionString);
  if (key === undefined) throw new Error('the connection string has no key');
  const authority = formatAuthority(host, port);
  return {
    deviceId,
    username: `${authority}/${deviceId}/?api-version=2020-09-30`,
    password: await signSasToken({ audience: `${authority}/devices/${deviceId}`, key, expiry }),
  };
}
