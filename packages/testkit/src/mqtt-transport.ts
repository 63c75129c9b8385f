import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import {
  API_VERSION,
  CONTROL_PATH,
  CulvertError,
  formatAnswerTopic,
  formatAuthority,
  identityName,
  parseOfferTopic,
} from '@culvert/protocol';
import type { MqttVersion } from '@culvert/protocol/mqtt';
import { webSocketDuplex } from '@culvert/stream';
import { WebSocket } from 'ws';
import type { DeviceUnderTest } from './control-channel-conformance.ts';
import type { DeviceProof, DeviceTransport } from './device-conformance.ts';
import { MqttDevice } from './mqtt-device.ts';
import type { TestHub } from './test-hub.ts';

/** A device that connects with MQTT, over TLS to the hub's MQTT listener or over WebSocket to its main port. */
export function mqttTransport(carrier: 'TLS' | 'WebSocket', version: MqttVersion): DeviceTransport {
  return {
    name: `MQTT ${version === 4 ? '3.1.1' : '5'} over ${carrier}`,
    async attach(hub, identity, proof) {
      const connection = carrier === 'TLS' ? overTls(hub, proof) : overWebSocket(hub, proof);
      const device = new MqttDevice(connection, version);
      const name = identityName(identity);
      const host = formatAuthority(hub.hostName, hub.port);
      const connack = await device.connect(name, {
        username: `${host}/${name}/?api-version=${API_VERSION}`,
        password: Buffer.from(proof.token ?? ''),
      });
      if ((version === 4 ? connack.returnCode : connack.reasonCode) !== 0) {
        connection.destroy();
        throw new CulvertError('unauthorized', 'The hub refused the device.');
      }
      await device.subscribe(1);
      return underTest(device);
    },
  };
}

function overTls(hub: TestHub, { certificate }: DeviceProof): Duplex {
  const address = hub.hub.mqttAddress;
  if (address === undefined) throw new Error('this hub has no MQTT listener');
  return connectTls({ host: '127.0.0.1', port: address.port, ca: hub.ca, ...certificate });
}

function overWebSocket(hub: TestHub, { certificate }: DeviceProof): Duplex {
  const url = `wss://127.0.0.1:${hub.port}${CONTROL_PATH}`;
  return webSocketDuplex(new WebSocket(url, 'mqtt', { ca: hub.ca, ...certificate }), { pingMs: 0 });
}

/** Adapts an authenticated {@link MqttDevice} to the interface of the transport-independent tests. */
function underTest(device: MqttDevice): DeviceUnderTest {
  const nextOffer: DeviceUnderTest['nextOffer'] = async () => {
    const packet = await device.next();
    if (packet.cmd !== 'publish') return nextOffer();
    const offer = parseOfferTopic(packet.topic);
    if (offer === undefined) throw new Error('not an offer');
    const { requestId, streamName, url, token } = offer;
    return { requestId, streamName, grant: { url, token } };
  };
  return {
    nextOffer,
    answer: (answer) =>
      device.send({
        ...{ cmd: 'publish', topic: formatAnswerTopic(answer), payload: answer.reason ?? '' },
        ...{ qos: 1, messageId: 9, dup: false, retain: false },
      }),
    takeOffers: async () => {
      await device.subscribe(1);
    },
    refuseOffers: async () => {
      device.send({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['$iothub/streams/POST/#'] });
      await device.take('unsuback');
    },
    drop: () => device.connection.destroy(),
    stall: () => device.connection.pause(),
    told: device.over.then(() => device.disconnectReason),
  };
}
