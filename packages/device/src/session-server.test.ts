import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CulvertError } from '@culvert/protocol';
import { generateEndKey, parseEndKey } from '@culvert/session/keys';
import { duplexPair } from '@culvert/testkit';
import { expect, it } from 'vitest';
import type { SessionEvent } from './session-event.ts';
import { SessionServer } from './session-server.ts';
import type { StreamOffer } from './stream-offer.ts';

it('a stream that fails while the list of authorised services is read costs nothing but itself', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-server-'));
  try {
    const authorizedServices = join(directory, 'authorized');
    const key = parseEndKey(generateEndKey(), 'a test');
    writeFileSync(authorizedServices, `${key.fingerprint}\n`);
    const told: SessionEvent[] = [];
    const server = new SessionServer(
      { deviceId: 'press-7' },
      { key, authorizedServices, onEvent: (event) => told.push(event), onStream: () => undefined },
    );
    const [stream, other] = duplexPair();
    other.on('error', () => undefined);
    const offer: Partial<StreamOffer> = {
      name: 'echo',
      caller: 'policy:service',
      session: { id: '0'.repeat(32), lowest: 1, highest: 1, encrypted: true },
      accept: async () => {
        // The file takes longer to be read.
        process.nextTick(() => stream.destroy(new CulvertError('stream_lost')));
        return stream;
      },
    };
    await server.handle(offer as StreamOffer, 'hub.example.com');
    expect(told).toMatchObject([{ type: 'session-link-refused', caller: 'policy:service' }]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
