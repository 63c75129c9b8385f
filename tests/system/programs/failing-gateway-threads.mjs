// Loaded into a hub by `--import`: SIGUSR2 makes every gateway thread of its process fail.
import { isMainThread, threadName } from 'node:worker_threads';

const CHANNEL = 'culvert-test-fail';

if (isMainThread) {
  process.on('SIGUSR2', () => {
    const channel = new BroadcastChannel(CHANNEL);
    channel.postMessage('fail');
    channel.close();
  });
} else if (threadName.startsWith('culvert-gateway-')) {
  new BroadcastChannel(CHANNEL).onmessage = () => {
    throw new Error('The test wants this thread to fail.');
  };
}
