import { type CulvertError, type Identity, LIMITS, type Offer } from '@culvert/protocol';
import { AmqpDevice, type AmqpSasl, devicePrincipal, duplexPair, FakeClock } from '@culvert/testkit';
import type { HubEvent } from '../../observe/events.ts';
import type { ControlChannel, ControlDeps, ControlOrigin } from '../control-channel.ts';
import { NO_SERVICES } from '../no-services.fixture.ts';
import { acceptAmqp } from './accept-amqp.ts';

/** A stream request. */
export const OFFER: Offer = {
  streamId: '0123456789abcdef0123456789abcdef',
  streamName: 'ssh',
  caller: 'policy:service',
  grant: { url: 'wss://hub.example:8443/bridges/0123456789abcdef0123456789abcdef/device', token: 'e.y.J' },
};

/** A signal that never aborts. */
export const NEVER = new AbortController().signal;

/** A listener with one device, whose AMQP connection is open. */
export async function openListener(
  options: {
    sasl?: AmqpSasl;
    open?: object;
    authenticate?: ControlDeps['authenticate'];
    services?: ControlDeps['services'];
    certificate?: ControlOrigin['certificate'];
    maxOffers?: number;
  } = {},
) {
  const clock = new FakeClock();
  const events: HubEvent[] = [];
  const channels: ControlChannel[] = [];
  const ended = new Map<ControlChannel, CulvertError>();
  const [hubEnd, deviceEnd] = duplexPair();
  const { authenticate, services = NO_SERVICES, certificate, maxOffers = 64 } = options;
  const accepted = acceptAmqp(
    hubEnd,
    { remoteAddress: '192.0.2.1', protocol: 'amqp', certificate },
    {
      authenticate: authenticate ?? (async ({ identity }: { identity: Identity }) => devicePrincipal(identity)),
      services,
      registrar: {
        attach: (channel) => {
          channels.push(channel);
          void channel.closed.then((error) => ended.set(channel, error));
        },
        offersChanged: () => {},
      },
      clock,
      onEvent: (event) => events.push(event),
      limits: { authenticateMs: 10_000, maxPacketBytes: LIMITS.mqttPacketBytes, maxOffers, maxQueuedBytes: 1_048_576 },
    },
  );
  const device = new AmqpDevice(deviceEnd, options.sasl, options.open);
  await device.opened();
  return { clock, events, channels, ended, hubEnd, accepted, device };
}
