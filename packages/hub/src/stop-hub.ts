import { CulvertError } from '@culvert/protocol';
import type { OpenedParts } from './hub-parts.ts';

/**
 * Stops a hub, in the reverse order of its start; of one that failed to start, what had been opened.
 * @param graceMs how long running streams may take to end by themselves
 */
export async function stopHub(parts: OpenedParts, graceMs: number): Promise<void> {
  const { listeners, streaming, events } = parts;
  const draining = new CulvertError('draining');
  const wasUp = parts.readiness?.isUp === true;
  // Not ready, no new handshakes, and those under way are told: load balancers and callers go elsewhere.
  parts.readiness?.drain();
  parts.draining?.abort(draining);
  if (wasUp) events?.emit({ type: 'hub-draining' });
  // No new connections before the existing ones are ended, or clients would reconnect at once.
  const closed = listeners?.close();
  if (streaming !== undefined) {
    // Streams may end by themselves; after the grace both sides are told that the hub is stopping.
    await streaming.gateway.close(graceMs);
    // Devices last: their agents learn that they are to come back, not that something broke.
    const channels = [...streaming.router.channels()];
    for (const channel of channels) channel.close(draining);
    await Promise.all(channels.map((channel) => channel.closed));
    await streaming.clear();
  }
  // The subscribers have seen the last stream end.
  await parts.subscribers?.close(draining);
  // After the last stream and the last device, so that their ends are recorded.
  await parts.resourceLog?.close();
  await parts.api?.close();
  listeners?.destroyConnections();
  await closed;
  parts.certificates?.source.close();
  // A rotation just answered may still be written to its file; the next hub on this directory must not be overwritten.
  await parts.policyFiles?.settled();
  // Nothing more can happen that they would record.
  await Promise.all([parts.audit?.close(), parts.tracing?.close()]);
  // The store at the very end: everything above may still write.
  await parts.store?.close();
  // Until here probes were told that the hub is alive and not ready; otherwise an orchestrator would kill it while it drains.
  await listeners?.closeProbes();
  parts.metrics?.stop();
  if (wasUp) events?.emit({ type: 'hub-stopped' });
}
