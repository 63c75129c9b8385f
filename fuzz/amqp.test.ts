import { describe, expect, it } from 'vitest';
import { fuzzAmqp } from './amqp.ts';

describe('the AMQP listener', () => {
  it('keeps its promises to a thousand devices, broken ones among them', async () => {
    const counts = await fuzzAmqp(1, 1_000);
    // The cases must get past the listener and exercise the code behind it.
    for (const kind of [
      'device-attached',
      'device-detached device_gone',
      'device-detached protocol_error',
      'device-detached keepalive_timeout',
      'device-detached token_expired',
      'connection-refused protocol_error',
      'connection-refused too_large',
      'connection-refused unauthorized',
      'connection-refused handshake_timeout',
      'offer accepted',
      'offer rejected',
      'offer device_silent',
    ])
      expect(counts[kind] ?? 0, kind).toBeGreaterThan(5);
    for (const kind of [
      'service-connected',
      'service-disconnected device_gone',
      'service-disconnected protocol_error',
      'service-disconnected revoked',
      'service-disconnected token_expired',
      'connection-refused forbidden',
    ])
      expect(counts[kind] ?? 0, kind).toBeGreaterThan(0);
    for (const kind of ['connection-refused internal', 'device-detached internal', 'service-disconnected internal'])
      expect(counts).not.toHaveProperty(kind);
  });
});
