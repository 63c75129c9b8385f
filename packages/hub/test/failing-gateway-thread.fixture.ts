import { isMainThread } from 'node:worker_threads';

/** An entry module for a hub's gateway threads. It runs the real one, and throws when {@link failGatewayThread} is called. */
export const FAILING_GATEWAY_THREAD = new URL(import.meta.url);

const CHANNEL = 'culvert-test-fail';

/** Makes every gateway thread of this process fail. */
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
