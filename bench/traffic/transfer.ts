import { type Address, Connection } from './connection.ts';

const MB = 1e6;

/** The results of a new connection: MB/s in each direction, and milliseconds from connecting to the first byte back. */
export interface Transfer {
  readonly down: number;
  readonly up: number;
  readonly 'first byte': number;
}

/**
 * Opens a connection to the target, waits for a first byte, and moves `bytes` down, then up.
 * @throws Error when bytes were wrong, missing or late
 */
export async function measureTransfer(entry: Address, bytes: number): Promise<Transfer> {
  const from = performance.now();
  const connection = new Connection(entry);
  try {
    await connection.pingPong(16, 1);
    const firstByte = performance.now() - from;
    const down = await connection.download(bytes);
    const up = await connection.upload(bytes);
    return { down: bytes / MB / (down / 1000), up: bytes / MB / (up / 1000), 'first byte': firstByte };
  } finally {
    await connection.close();
  }
}
