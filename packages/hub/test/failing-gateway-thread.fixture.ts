import { isMainThread } from 'node:worker_threads';

/** As the entry of a hub's gateway threads: the real one, which fails when {@link failGatewayThread} says so. */
export const FAILING_GATEWAY_THREAD = new URL(import.meta.url);

const CHANNEL = 'culvert-test-fail';

/** Has every thread of this process's gateways fail. */
export function failGatewayThread(): void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage('fail');
  channel.close();
}

if (!isMainThread) {
  new BroadcastChannel(CHANNEL).onmessage = () => {
    throw new Error('The test wants this thread to fail.');
  };
  await import('../src/gateway/worker.ts');
}
