// The PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt): a load balancer sends a header with the client's address before the
// client's own bytes.

import { isIPv4, isIPv6 } from 'node:net';

/** The result of parsing a connection's first bytes. */
export type ProxyHeaderReading =
  /** Incomplete: `atLeast` bytes are needed to continue. */
  | { readonly atLeast: number }
  /** The bytes are not a PROXY header, or not one for a TCP connection. */
  | { readonly problem: string }
  /**
   * `length`: the bytes of the header, after which the client's own bytes begin. `client`: undefined when the load balancer connects for itself (LOCAL,
   * UNKNOWN), as it does to check the hub's health.
   */
  | { readonly length: number; readonly client: ProxiedClient | undefined };

/** The client for which the load balancer has opened the connection. */
export interface ProxiedClient {
  readonly address: string;
  readonly port: number;
}

/** Maximum bytes of a header: the specification says that a receiver should accept 16 bytes and 520 more for addresses and TLVs. */
export const MAX_PROXY_HEADER_BYTES = 536;

/** Maximum bytes of a version 1 header, including its line end (§2.1). */
const MAX_LINE_BYTES = 107;

const LINE_START = Buffer.from('PROXY ');
const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const FIXED_BYTES = 16;

/** Values of the byte after the signature: the version in its upper four bits, the command in its lower four bits (§2.2). */
const VERSION_2 = 0x2;
const LOCAL = 0x0;
const PROXY = 0x1;

/** Values of the byte after that: address family and transport protocol. */
const TCP_4 = 0x11;
const TCP_6 = 0x21;
const UNSPECIFIED = 0x00;

const NO_HEADER = 'The connection did not begin with a PROXY header.';

/** Parses the PROXY header from the first bytes of a connection. */
export function readProxyHeader(bytes: Buffer): ProxyHeaderReading {
  if (startsLike(bytes, LINE_START)) {
    return bytes.length < LINE_START.length ? { atLeast: LINE_START.length } : readLine(bytes);
  }
  if (startsLike(bytes, SIGNATURE)) return bytes.length < FIXED_BYTES ? { atLeast: FIXED_BYTES } : readBinary(bytes);
  return { problem: NO_HEADER };
}

/** Whether the bytes received so far match the beginning of `start`. */
function startsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function readLine(bytes: Buffer): ProxyHeaderReading {
  const end = bytes.subarray(0, MAX_LINE_BYTES).indexOf('\r\n');
  if (end < 0) {
    if (bytes.length >= MAX_LINE_BYTES) return { problem: 'The PROXY header of version 1 has no line end.' };
    return { atLeast: bytes.length + 1 };
  }
  const length = end + 2;
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = '', ...more] = bytes
    .toString('latin1', 0, end)
    .split(' ');
  // The rest of an UNKNOWN line is ignored (§2.1).
  if (family === 'UNKNOWN') return { length, client: undefined };
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : undefined;
  const port = portOf(sourcePort);
  const isValid = isAddress?.(source) && isAddress(destination) && more.length === 0 && !source.includes('%');
  if (!isValid || port === undefined || portOf(destinationPort) === undefined) {
    return { problem: 'The PROXY header of version 1 is malformed.' };
  }
  return { length, client: { address: source, port } };
}

function portOf(text: string): number | undefined {
  const port = /^(?:0|[1-9]\d{0,4})$/.test(text) ? Number(text) : Number.NaN;
  return port <= 65_535 ? port : undefined;
}

function readBinary(bytes: Buffer): ProxyHeaderReading {
  const versionAndCommand = bytes.readUInt8(SIGNATURE.length);
  const family = bytes.readUInt8(SIGNATURE.length + 1);
  const length = FIXED_BYTES + bytes.readUInt16BE(SIGNATURE.length + 2);
  const command = versionAndCommand & 0xf;
  if (versionAndCommand >> 4 !== VERSION_2 || (command !== LOCAL && command !== PROXY)) {
    return { problem: 'The PROXY header has an unknown version or command.' };
  }
  if (length > MAX_PROXY_HEADER_BYTES) {
    return { problem: `A PROXY header of ${length} bytes; at most ${MAX_PROXY_HEADER_BYTES} are taken.` };
  }
  if (bytes.length < length) return { atLeast: length };
  if (command === LOCAL || family === UNSPECIFIED) return { length, client: undefined };
  const addressBytes = family === TCP_4 ? 4 : family === TCP_6 ? 16 : 0;
  // Two addresses and two ports follow, and then TLVs, which are not needed here.
  if (addressBytes === 0) return { problem: 'The PROXY header is not for a TCP connection.' };
  if (length < FIXED_BYTES + 2 * addressBytes + 4) return { problem: 'The PROXY header has no addresses.' };
  const address = bytes.subarray(FIXED_BYTES, FIXED_BYTES + addressBytes);
  const port = bytes.readUInt16BE(FIXED_BYTES + 2 * addressBytes);
  return { length, client: { address: family === TCP_4 ? address.join('.') : formatIPv6(address), port } };
}

function formatIPv6(address: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, group) => address.readUInt16BE(2 * group).toString(16));
  // In the canonical text form (RFC 5952).
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
