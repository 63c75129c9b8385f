import { buffer } from 'node:stream/consumers';
import { newStreamId } from '@culvert/protocol';
import { dialStream } from '@culvert/stream';
import type { TestGateway, TestGatewayOptions } from '@culvert/testkit';
import { afterEach, expect, test, vi } from 'vitest';

let bench: TestGateway | undefined;
afterEach(async () => {
  await bench?.stop();
  vi.unstubAllGlobals();
  vi.resetModules();
});

/** A gateway whose modules are loaded again: they look for WebAssembly once. */
async function start(options: TestGatewayOptions = {}): Promise<TestGateway> {
  vi.resetModules();
  const testkit = await import('@culvert/testkit');
  bench = await testkit.startGateway(options);
  return bench;
}

async function carries(gateway: TestGateway): Promise<void> {
  const streamId = newStreamId();
  const options = { outbound: { ca: gateway.ca } };
  const [device, service] = await Promise.all([
    dialStream(await gateway.grant(streamId, 'device'), options),
    dialStream(await gateway.grant(streamId, 'service'), options),
  ]);
  const sent = Buffer.alloc(300_000, 'pattern');
  service.end(sent);
  device.end();
  const [received] = await Promise.all([buffer(device), buffer(service)]);
  expect(received.equals(sent)).toBe(true);
}

const without = (told: TestGateway) => told.events.filter(({ type }) => type === 'gateway-without-webassembly');

/** As V8 says it where address space is limited. */
class Memory {
  constructor() {
    throw new RangeError('WebAssembly.Memory(): could not allocate memory');
  }
}

test.each([
  ['there is no room for its memory', { Memory }, 'WebAssembly.Memory(): could not allocate memory'],
  ['there is none', undefined, 'this Node has no WebAssembly (--jitless)'],
])('streams are carried without WebAssembly where %s, and the gateway says so', async (_where, wasm, problem) => {
  vi.stubGlobal('WebAssembly', wasm);
  const gateway = await start();
  expect(without(gateway)).toEqual([{ type: 'gateway-without-webassembly', problem }]);
  await carries(gateway);
});

test('who wants it so is told nothing, nor is anybody where there is WebAssembly', async () => {
  vi.stubGlobal('WebAssembly', { Memory });
  const plain = await start({ plain: true });
  expect(without(plain)).toEqual([]);
  await carries(plain);
  await plain.stop();
  vi.unstubAllGlobals();
  expect(without(await start())).toEqual([]);
});
