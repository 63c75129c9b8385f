import {
  amqpTransport,
  authorityCredentials,
  CERTIFICATE_HOST,
  deviceConformance,
  deviceKeyCredentials,
  mqttTransport,
  sasCredentials,
  thumbprintCredentials,
} from '@culvert/testkit';

// The rate limits are high, because the fake clock does not advance and so the streams of all tests count in the same second.
const limits = { newStreamsPerSecond: 10_000, newStreamsPerSecondPerDevice: 10_000 };
const options = {
  config: {
    mqttListen: '127.0.0.1:0',
    amqpListen: '127.0.0.1:0',
    advertise: ['127.0.0.1', CERTIFICATE_HOST],
    clientCertificates: ['mqttListen', 'amqpListen', CERTIFICATE_HOST],
    limits,
  },
};

const transports = [
  mqttTransport('TLS', 4),
  mqttTransport('WebSocket', 4),
  amqpTransport('TLS'),
  amqpTransport('WebSocket'),
];

for (const transport of transports) {
  for (const credentials of [
    sasCredentials,
    thumbprintCredentials('sha256', 'secondaryThumbprint'),
    authorityCredentials('through another'),
  ]) {
    for (const moduleId of [undefined, 'm1']) deviceConformance(transport, credentials, moduleId, options);
  }
  deviceConformance(transport, deviceKeyCredentials, 'm1', options);
}
