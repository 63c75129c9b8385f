import { CulvertError } from '@culvert/protocol';
import type { OpenedParts } from './hub-parts.ts';

/**
 * Stops a hub's parts in the reverse order of their start; when the start has failed, those that had been opened.
 * @param graceMs milliseconds that running streams have to end on their own
 */
export async function stopHub(parts: OpenedParts, graceMs: number): Promise<void> {
  const { listeners, streaming, events } = parts;
  const draining = new CulvertError('draining');
  const wasUp = parts.readiness?.isUp === true;
  // The hub is not ready from now on, and handshakes fail with `draining`, so that load balancers and callers use another hub.
  parts.readiness?.drain();
  parts.draining?.abort(draining);
  if (wasUp) events?.emit({ type: 'hub-draining' });
  // New connections are refused before the existing ones are closed; otherwise clients would reconnect at once.
  const closed = listeners?.close();
  if (streaming !== undefined) {
    // Streams may end on their own; after the grace period they are ended with `draining`, which both sides receive.
    await streaming.gateway.close(graceMs);
    // The devices' control channels are closed last, with `draining`, so that agents know that they should reconnect and that nothing has failed.
    const channels = [...streaming.router.channels()];
    for (const channel of channels) channel.close(draining);
    await Promise.all(channels.map((channel) => channel.closed));
    await streaming.clear();
  }
  // By now the subscribers have received the end of the last stream.
  await parts.subscribers?.close(draining);
  // Closed after the last stream and the last device, so that their ends are recorded.
  await parts.resourceLog?.close();
  await parts.api?.close();
  listeners?.destroyConnections();
  await closed;
  parts.certificates?.source.close();
  // The file for a key rotation may still be being written; it must not overwrite files of the next hub on this directory.
  await parts.policyFiles?.settled();
  // No further event follows that the audit log or the traces would record.
  await Promise.all([parts.audit?.close(), parts.tracing?.close()]);
  // The store is closed after all parts above, which may still write to it.
  await parts.store?.close();
  // Probes are answered until here (alive, not ready); otherwise an orchestrator would kill the hub while it drains.
  await listeners?.closeProbes();
  parts.metrics?.stop();
  if (wasUp) events?.emit({ type: 'hub-stopped' });
}
