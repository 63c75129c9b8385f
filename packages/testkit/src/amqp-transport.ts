import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { CONTROL_PATH, CulvertError, type Identity, identityName, STREAM_PROPERTIES } from '@culvert/protocol';
import { webSocketDuplex } from '@culvert/stream';
import { WebSocket } from 'ws';
import { AmqpDevice, type AmqpSasl } from './amqp-device.ts';
import type { DeviceUnderTest } from './control-channel-conformance.ts';
import type { DeviceProof, DeviceTransport } from './device-conformance.ts';
import type { TestHub } from './test-hub.ts';

/**
 * A device that connects with AMQP, over TLS to the hub's AMQP listener or over WebSocket to its main port. It authenticates with a token by CBS
 * or SASL PLAIN, or with a certificate by SASL EXTERNAL.
 */
export function amqpTransport(carrier: 'TLS' | 'WebSocket', tokenBy: 'CBS' | 'PLAIN' = 'CBS'): DeviceTransport {
  return {
    name: `AMQP over ${carrier}${tokenBy === 'PLAIN' ? ', PLAIN' : ''}`,
    async attach(hub, identity, proof) {
      const connection = carrier === 'TLS' ? overTls(hub, proof) : overWebSocket(hub, proof);
      const isByCertificate = proof.token === undefined && proof.certificate !== undefined;
      const isByPlain = tokenBy === 'PLAIN' && proof.token !== undefined;
      const response = `\0${identityName(identity)}@sas.${hub.hostName}\0${proof.token}`;
      const sasl: AmqpSasl = isByPlain
        ? { mechanism: 'PLAIN', response }
        : { mechanism: isByCertificate ? 'EXTERNAL' : 'MSSBCBS' };
      const device = new AmqpDevice(connection, sasl);
      try {
        await device.opened();
        if (proof.token !== undefined && !isByPlain) await putToken(device, identity, proof.token);
        await device.attachStreams(identity);
      } catch (reason) {
        connection.destroy();
        throw CulvertError.from(reason, 'unauthorized', 'The hub refused the device.');
      }
      return amqpDeviceUnderTest(device, identity);
    },
  };
}

async function putToken(device: AmqpDevice, identity: Identity, token: string): Promise<void> {
  const { status } = await device.putToken(identity, token);
  if (status !== 200) throw new CulvertError('unauthorized', `The hub answered the token with ${status}.`);
}

function overTls(hub: TestHub, { certificate }: DeviceProof): Duplex {
  const address = hub.hub.amqpAddress;
  if (address === undefined) throw new Error('this hub has no AMQP listener');
  return connectTls({ host: '127.0.0.1', port: address.port, ca: hub.ca, ...certificate });
}

function overWebSocket(hub: TestHub, { certificate }: DeviceProof): Duplex {
  const url = `wss://127.0.0.1:${hub.port}${CONTROL_PATH}`;
  return webSocketDuplex(new WebSocket(url, 'AMQPWSB10', { ca: hub.ca, ...certificate }), { pingMs: 0 });
}

/** Adapts an {@link AmqpDevice} whose streams links are attached to the interface of the transport-independent tests. */
export function amqpDeviceUnderTest(device: AmqpDevice, identity: Identity): DeviceUnderTest {
  return {
    nextOffer: async () => {
      const { correlationId: requestId, message } = await device.nextOffer();
      const properties = message.application_properties ?? {};
      const { [STREAM_PROPERTIES.url]: url, [STREAM_PROPERTIES.token]: token } = properties;
      return { requestId, streamName: properties[STREAM_PROPERTIES.name], grant: { url, token } };
    },
    answer: ({ requestId, accepted, reason }) => device.answer({ correlationId: requestId, accepted, reason }),
    takeOffers: () => device.attachStreams(identity),
    refuseOffers: () => device.detachStreams(),
    drop: () => device.connection.destroy(new CulvertError('stream_lost')),
    stall: () => device.connection.pause(),
    told: device.over.then(() => device.closeCondition),
  };
}
