import { once } from 'node:events';
import { duplexPair } from '@culvert/testkit';
import { afterEach, expect, it, vi } from 'vitest';
import { DeviceSessions, linkOverDuplex, nodeEnvironment } from './index.ts';

afterEach(() => void vi.useRealTimers());

it('a peer that goes on sending after BYE loses its link all the same', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const device = new DeviceSessions({
    environment: nodeEnvironment,
    deviceId: 'press-7',
    moduleId: '',
    opened: () => undefined,
  });
  const [link, peer] = duplexPair();
  const sessionId = new Uint8Array(16);
  linkOverDuplex(link, new Uint8Array(0), (transport) =>
    device.accept(transport, { sessionId, caller: 'policy:service', mayOpen: () => true }),
  );
  peer.on('error', () => undefined).resume();
  // HELLO of a session that the device does not know.
  const hello = new Uint8Array(8 + 52);
  hello.set([0x40, 0, 0, 52, 0, 0, 0, 0, 1, 1]);
  hello[8 + 23] = 2;
  peer.write(hello);
  await once(peer, 'end');
  expect(link.destroyed).toBe(false);
  for (let second = 0; second < 6; second++) {
    if (!peer.destroyed) peer.write(new Uint8Array(100));
    await new Promise(setImmediate);
    vi.advanceTimersByTime(1_000);
    await new Promise(setImmediate);
  }
  expect(link.destroyed).toBe(true);
});
