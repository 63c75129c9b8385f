import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { DeviceClient } from '@culvert/device';
import { systemClock } from '@culvert/stream';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { deviceLinkContext, serviceLinkContext } from './link-context.ts';
import { newKey } from './links.fixture.ts';
import { anyServiceCheck, authorizedServiceCheck, sameKeyCheck } from './peer-checks.ts';
import { type SecureLink, type SecureLinkOptions, secureLink } from './secure-link.ts';

const subject = { hub: 'hub.example.com', identity: { deviceId: 'press-7' } };

let hub: TestHub;
beforeEach(async () => {
  hub = await startHub();
});
afterEach(() => hub.stop());

/** Opens a stream through a real hub and encrypts it. Resolves with what each end gets; the device's end is used by `serve`. */
async function linkOverHub(
  device: Omit<SecureLinkOptions, 'clock'>,
  service: Omit<SecureLinkOptions, 'clock'>,
  serve: (link: SecureLink) => void,
): Promise<readonly PromiseSettledResult<SecureLink>[]> {
  let ended: Promise<SecureLink> | undefined;
  const client = DeviceClient.fromConnectionString(await hub.createDevice('press-7'), {
    outbound: hub.outbound,
    onStream: async (offer) => {
      ended = secureLink(await offer.accept(), { clock: systemClock, ...device });
      await ended.then(serve, () => {});
    },
  });
  await client.open();
  const stream: Duplex = await hub.owner.openStream('press-7', { name: 'session' });
  const [link] = await Promise.allSettled([secureLink(stream, { clock: systemClock, ...service })]);
  return [link, ...(await Promise.allSettled([ended as Promise<SecureLink>]))];
}

it('a link through a hub carries megabytes both ways', async () => {
  const [key, deviceKey] = [newKey(), newKey()];
  const [service, device] = await linkOverHub(
    { context: deviceLinkContext({ key: deviceKey }), checkPeer: anyServiceCheck },
    { context: serviceLinkContext({ key }), checkPeer: sameKeyCheck(deviceKey.fingerprint) },
    ({ duplex }) => void duplex.pipe(duplex, { end: false }),
  );
  if (service?.status !== 'fulfilled' || device?.status !== 'fulfilled') throw new Error('there is no link');
  expect(service.value.binding).toEqual(device.value.binding);
  const sent = randomBytes(8_000_000);
  service.value.duplex.write(sent);
  const received: Buffer[] = [];
  let left = sent.length;
  for await (const chunk of service.value.duplex) {
    received.push(chunk as Buffer);
    left -= (chunk as Buffer).length;
    if (left <= 0) break;
  }
  expect(Buffer.concat(received).equals(sent)).toBe(true);
});

it('a service that the device does not know gets the farewell through the hub', async () => {
  const key = newKey();
  const checkPeer = authorizedServiceCheck({ fingerprints: new Set(), authorities: [] }, subject);
  const [service, device] = await linkOverHub(
    { context: deviceLinkContext({ key }), checkPeer, farewell: () => Buffer.from('key refused') },
    { context: serviceLinkContext({ key: newKey() }), checkPeer: sameKeyCheck(key.fingerprint) },
    () => {},
  );
  expect(device).toMatchObject({ status: 'rejected', reason: { code: 'key_refused' } });
  if (service?.status !== 'fulfilled') throw new Error('there is no link');
  const received: Buffer[] = [];
  for await (const chunk of service.value.duplex) received.push(chunk as Buffer);
  expect(Buffer.concat(received).toString()).toBe('key refused');
});
