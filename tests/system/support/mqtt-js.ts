import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import type { Cleanup } from './cleanup.ts';
import type { HubProcess } from './hub-process.ts';
import type { MqttCredentials } from './sas.ts';

/** Connects MQTT.js as a device over WebSocket; it is closed at the end of the test. */
export async function connectMqttJs(
  cleanup: Cleanup,
  hub: HubProcess,
  { deviceId, username, password }: MqttCredentials,
  options: IClientOptions = {},
): Promise<MqttClient> {
  const url = `wss://${hub.hostName}/$iothub/websocket`;
  const client = await connectAsync(url, { clientId: deviceId, username, password, ca: hub.ca, ...options });
  return cleanup.defer(client, () => client.endAsync(true));
}
