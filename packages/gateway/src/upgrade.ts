import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { CulvertError, STREAM_SUBPROTOCOL } from '@culvert/protocol';
import { type GrantClaims, parseGrantPath, verifyGrant } from '@culvert/protocol/grant';

/** RFC 6455 §1.3. */
const KEY_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Base64 of sixteen bytes (§4.1). */
const KEY = /^[A-Za-z0-9+/]{22}==$/;

const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i;

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** A valid upgrade request whose grant is not verified yet. */
export interface UpgradeRequest {
  readonly key: string;
  readonly path: NonNullable<ReturnType<typeof parseGrantPath>>;
  /** The grant's token, not verified. */
  readonly token: string;
  /** The subprotocol to send back, if one was offered. */
  readonly subprotocol: string | undefined;
}

/**
 * Reads an upgrade request (RFC 6455 §4.2.1).
 * @throws CulvertError `argument_invalid`, `protocol_unsupported`, `route_not_found` or `unauthorized`
 */
export function parseUpgrade(request: IncomingMessage): UpgradeRequest {
  const { headers } = request;
  if (request.method !== 'GET') throw new CulvertError('argument_invalid', 'Only GET can be upgraded.');
  if (headers.upgrade?.toLowerCase() !== 'websocket') {
    throw new CulvertError('argument_invalid', 'Only an upgrade to WebSocket is possible here.');
  }
  const path = parseGrantPath(request.url ?? '');
  if (path === undefined) throw new CulvertError('route_not_found');
  if (headers['sec-websocket-version'] !== '13') {
    throw new CulvertError('protocol_unsupported', 'Only version 13 of WebSocket is spoken here.');
  }
  const key = headers['sec-websocket-key'] ?? '';
  if (!KEY.test(key)) throw new CulvertError('argument_invalid', 'The Sec-WebSocket-Key is malformed.');
  const subprotocol = chooseSubprotocol(headers['sec-websocket-protocol']);
  const token = BEARER.exec(headers.authorization ?? '')?.[1];
  if (token === undefined) throw new CulvertError('unauthorized', 'The grant is missing: Authorization: Bearer.');
  return { key, path, token, subprotocol };
}

/**
 * Verifies the grant of an upgrade request, and that it matches the requested path.
 * @throws CulvertError `grant_invalid`
 */
export async function verifyUpgrade(
  { path, token }: UpgradeRequest,
  expected: Parameters<typeof verifyGrant>[1],
): Promise<GrantClaims> {
  const claims = await verifyGrant(token, expected);
  if (claims.streamId !== path.streamId || claims.side !== path.side) {
    throw new CulvertError('grant_invalid', 'The grant is for another address.');
  }
  return claims;
}

/** The 101 response. No extension is ever accepted: permessage-deflate stays off. */
export function acceptance({ key, subprotocol }: UpgradeRequest): string {
  const accept = createHash('sha1')
    .update(key + KEY_SUFFIX)
    .digest('base64');
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
  ];
  if (subprotocol !== undefined) lines.push(`Sec-WebSocket-Protocol: ${subprotocol}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Echoes the first offered subprotocol, whatever it is (Azure's C samples offer `MQTT`, `AMQP`, `HTTP`), but prefers Culvert's own. */
function chooseSubprotocol(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const offered = header.split(',').map((name) => name.trim());
  if (!offered.every((name) => TOKEN.test(name))) {
    throw new CulvertError('argument_invalid', 'The Sec-WebSocket-Protocol is malformed.');
  }
  return offered.includes(STREAM_SUBPROTOCOL) ? STREAM_SUBPROTOCOL : offered[0];
}
