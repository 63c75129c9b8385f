import { once } from 'node:events';
import { formatOfferTopic } from '@culvert/protocol';
import { ConnectProxy, ScriptedHub } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { DeviceClient } from './device-client.ts';

it('goes through the HTTP proxy with the control channel and with streams', async () => {
  const proxy = await ConnectProxy.start();
  const hub = await ScriptedHub.start();
  let echoed: unknown;
  const device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
    onStream: async (offer) => {
      const stream = await offer.accept();
      stream.write('through');
      [echoed] = await once(stream, 'data');
      stream.destroy();
    },
    outbound: { ca: hub.ca, proxy: proxy.url },
  });
  const opened = device.open();
  const channel = await hub.channel();
  await channel.welcome();
  await opened;
  const url = hub.streamUrl('ab'.repeat(16), 'device');
  channel.publish(formatOfferTopic({ streamName: 'echo', requestId: '1', url, token: 'grant' }));
  // The proxy is given by its IP address. Node begins to connect to an IP address before the request emits 'socket'.
  expect((await channel.take('publish')).topic).toBe('$iothub/streams/res/200/?$rid=1');
  await expect.poll(() => String(echoed)).toBe('through');
  expect(proxy.targets).toEqual([`127.0.0.1:${hub.port}`, `127.0.0.1:${hub.port}`]);
  await device.close();
  await hub.stop();
  await proxy.stop();
});
