import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import { stateKeepAlive } from '@culvert/stream';

/** Bytes that are sent through the tunnel and echoed. */
export const PROOF_BYTES = 1_048_576;

/** Milliseconds that the proof may take; a slow machine needs about one second. */
const PROOF_MS = 30_000;

/** The result of sending the bytes. */
export interface Proof {
  /** SHA-256 of the sent and of the received bytes, which are the same. */
  readonly sha256: string;
  /** Milliseconds from connecting to the last received byte. */
  readonly ms: number;
}

/**
 * Sends 1 MiB of random bytes to an echo service and compares the echo.
 * @throws CulvertError `internal` when the echo is incomplete or differs
 */
export function prove(port: number): Promise<Proof> {
  const sent = randomBytes(PROOF_BYTES);
  const hash = createHash('sha256');
  const started = performance.now();
  return new Promise((resolve, reject) => {
    let received = 0;
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    stateKeepAlive(socket, 'local');
    const fail = (problem: string) => (): void => {
      socket.destroy();
      reject(
        new CulvertError('internal', `the proof failed: ${problem} (${received} of ${PROOF_BYTES} bytes came back)`),
      );
    };
    socket.setTimeout(PROOF_MS, fail('nothing came for too long'));
    socket.on('error', fail('the connection was lost'));
    socket.on('close', fail('the connection ended early'));
    socket.on('data', (data) => {
      received += data.length;
      hash.update(data);
      if (received < PROOF_BYTES) return;
      const ms = performance.now() - started;
      const sha256 = hash.digest('hex');
      if (sha256 !== createHash('sha256').update(sent).digest('hex')) return fail('the bytes differ')();
      socket.end();
      resolve({ sha256, ms });
    });
    socket.write(sent);
  });
}
