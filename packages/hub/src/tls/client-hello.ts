// Parses a TLS ClientHello (RFC 8446 §4.1.2, the same since TLS 1.0) only as far as the server name (RFC 6066 §3).
// OpenSSL parses it again and reports errors; here anything malformed just means "no server name".

import { LIMITS } from '@culvert/protocol';

/** The result of parsing the first bytes of a connection. */
export type ServerNameReading =
  /** Incomplete: `atLeast` bytes are needed to continue. */
  | { readonly atLeast: number }
  /** Longer than the ClientHello of any real client. */
  | { readonly tooLong: true }
  /** The server name, in lower case; undefined when there is none, or this is not TLS. */
  | { readonly name: string | undefined };

/** Maximum bytes of a ClientHello with its record headers: with post-quantum keys it has 2 KiB. OpenSSL would keep 128 KiB. */
const MAX_HELLO_BYTES = LIMITS.tlsHandshakeBytes;

/** Maximum TLS records of a ClientHello. The sender may use any number (RFC 8446 §5.1); one is usual. Limits how often the first bytes are parsed again. */
const MAX_RECORDS = 16;

const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_RECORD = 22;
const HELLO_HEADER_BYTES = 4;
const CLIENT_HELLO = 1;
/** `legacy_version` and `random`. */
const VERSION_AND_RANDOM_BYTES = 34;
const SERVER_NAME = 0;
const HOST_NAME = 0;

const NO_SERVER_NAME: ServerNameReading = { name: undefined };
const TOO_LONG: ServerNameReading = { tooLong: true };

/** Parses the server name that a client requests from the first bytes of its connection. */
export function readServerName(bytes: Buffer): ServerNameReading {
  let hello: Buffer = Buffer.alloc(0);
  for (let record = 0, at = 0; record < MAX_RECORDS; record++) {
    if (at < bytes.length && bytes[at] !== HANDSHAKE_RECORD) return NO_SERVER_NAME;
    const start = at + RECORD_HEADER_BYTES;
    if (bytes.length < start) return more(start);
    at = start + bytes.readUInt16BE(start - 2);
    if (bytes.length < at) return more(at);
    hello = Buffer.concat([hello, bytes.subarray(start, at)]);
    if (hello.length < HELLO_HEADER_BYTES) continue;
    if (hello[0] !== CLIENT_HELLO) return NO_SERVER_NAME;
    const end = HELLO_HEADER_BYTES + hello.readUIntBE(1, 3);
    if (end > MAX_HELLO_BYTES) return TOO_LONG;
    if (hello.length >= end) return { name: nameIn(hello.subarray(HELLO_HEADER_BYTES, end)) };
  }
  return NO_SERVER_NAME;
}

function more(atLeast: number): ServerNameReading {
  return atLeast > MAX_HELLO_BYTES ? TOO_LONG : { atLeast };
}

function nameIn(hello: Buffer): string | undefined {
  try {
    // Skip the session id, the cipher suites and the compression methods; each follows its length.
    let at = VERSION_AND_RANDOM_BYTES;
    at += 1 + hello.readUInt8(at);
    at += 2 + hello.readUInt16BE(at);
    at += 1 + hello.readUInt8(at);
    // The extensions follow: their total length, then the type, length and content of each.
    for (at += 2; at < hello.length; ) {
      const start = at + 4;
      const end = start + hello.readUInt16BE(at + 2);
      if (hello.readUInt16BE(at) === SERVER_NAME) return hostName(hello.subarray(start, end));
      at = end;
    }
  } catch {
    // A length field exceeds the data: malformed.
  }
  return undefined;
}

/** The first name in a list: length of the list, type of the name, length of the name, name. Real clients send one name. */
function hostName(list: Buffer): string | undefined {
  if (list.readUInt8(2) !== HOST_NAME) return undefined;
  const name = list.subarray(5, 5 + list.readUInt16BE(3)).toString('latin1');
  return name === '' ? undefined : name.toLowerCase();
}
