import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect } from 'node:tls';
import { destroyConnection } from '@culvert/stream';

/** Bytes of a TLS record's header: type, version, length. */
const RECORD_HEADER_BYTES = 5;

/** Returns the first message that Node's TLS client sends: a ClientHello in one record. */
export async function clientHello(options: ConnectionOptions = {}): Promise<Buffer> {
  let resolveHello: (hello: Buffer) => void = () => {};
  const hello = new Promise<Buffer>((resolve) => {
    resolveHello = resolve;
  });
  const wire = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      resolveHello(chunk);
      done();
    },
  });
  const client = connect({ ...options, socket: wire }).on('error', () => undefined);
  try {
    return await hello;
  } finally {
    destroyConnection(client);
  }
}

/** Splits a message of one TLS record into records of `size` bytes each (RFC 8446 §5.1). */
export function inRecords(record: Buffer, size: number): Buffer {
  const records: Buffer[] = [];
  for (let at = RECORD_HEADER_BYTES; at < record.length; at += size) {
    const fragment = record.subarray(at, at + size);
    const header = Buffer.from(record.subarray(0, RECORD_HEADER_BYTES));
    header.writeUInt16BE(fragment.length, 3);
    records.push(header, fragment);
  }
  return Buffer.concat(records);
}
