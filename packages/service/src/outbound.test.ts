import { once } from 'node:events';
import { STREAM_HEADERS } from '@culvert/protocol';
import { ConnectProxy, ScriptedHub } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { ServiceClient } from './service-client.ts';

it('goes through the HTTP proxy with REST and with streams', async () => {
  const proxy = await ConnectProxy.start();
  const hub = await ScriptedHub.start({
    onRequest: (_request, response) => {
      response.setHeader(STREAM_HEADERS.isAccepted, 'True');
      response.setHeader(STREAM_HEADERS.url, hub.streamUrl('ab'.repeat(16), 'service'));
      response.setHeader(STREAM_HEADERS.token, 'the-grant');
      response.end();
    },
  });
  const outbound = { ca: hub.ca, proxy: proxy.url };
  const service = ServiceClient.fromConnectionString(hub.serviceConnectionString(), { outbound });
  const stream = await service.openStream('d1', { name: 'echo' });
  stream.write('through');
  expect(String((await once(stream, 'data'))[0])).toBe('through');
  expect(proxy.targets).toEqual([`127.0.0.1:${hub.port}`, `127.0.0.1:${hub.port}`]);
  stream.destroy();
  service.close();
  await hub.stop();
  await proxy.stop();
});
