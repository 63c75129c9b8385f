import { deviceConformance, mqttTransport, sasCredentials } from '@culvert/testkit';

const options = { config: { mqttListen: '127.0.0.1:0' } };

for (const transport of [mqttTransport('TLS', 4), mqttTransport('WebSocket', 4)]) {
  for (const credentials of [sasCredentials]) {
    for (const moduleId of [undefined, 'm1']) deviceConformance(transport, credentials, moduleId, options);
  }
}
