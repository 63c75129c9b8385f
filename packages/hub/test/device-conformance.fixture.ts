import {
  amqpTransport,
  authorityCredentials,
  CERTIFICATE_HOST,
  type DeviceCredentials,
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

/** The number of offers that shows that a transport can carry many. */
const MANY_OFFERS = 1_000;
/** The number of offers with a further credential: more than the 32 that are sent at once. */
const SOME_OFFERS = 64;

/**
 * Defines the tests of a hub's behaviour towards devices and modules, for each transport and kind of credential.
 * @param which how many of the pairs test that a control channel carries a thousand offers: all, or the first of each transport
 */
export function allDeviceConformance(which: 'all' | 'first of each transport'): void {
  for (const transport of transports) {
    let offers = MANY_OFFERS;
    const pair = (credentials: DeviceCredentials, moduleId: string | undefined): void => {
      deviceConformance(transport, credentials, moduleId, offers, options);
      if (which !== 'all') offers = SOME_OFFERS;
    };
    for (const credentials of [
      sasCredentials,
      thumbprintCredentials('sha256', 'secondaryThumbprint'),
      authorityCredentials('through another'),
    ]) {
      for (const moduleId of [undefined, 'm1']) pair(credentials, moduleId);
    }
    pair(deviceKeyCredentials, 'm1');
  }
}
