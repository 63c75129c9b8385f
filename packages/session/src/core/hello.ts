import { EMPTY, encodeFrame, FRAME, HEADER_BYTES, readUint32, readUint64, writeUint32, writeUint64 } from './frame.ts';

/** The versions of the session's protocol that this end speaks. */
export const SESSION_VERSIONS = { lowest: 1, highest: 1 } as const;

/** Milliseconds that the peer may take for HELLO and PROOF after its first byte on a link. */
export const HELLO_MS = 10_000;
/** Milliseconds from dialling until the peer's HELLO: a slow device needs more than 10 s to arrive. */
export const ARRIVE_MS = 60_000;

/** Bytes of a session's id. */
export const SESSION_ID_BYTES = 16;
/** Bytes of a session's secret: as strong as the HMAC. */
export const SECRET_BYTES = 32;
/** Bytes of the random value in each HELLO, which makes each proof another one. */
export const NONCE_BYTES = 16;
/** Bytes of PROOF: an HMAC-SHA-256. */
export const PROOF_BYTES = 32;

/** Bytes of HELLO that both ends always send: versions, flags, session id, link number, nonce, received, retention. */
const FIXED_BYTES = 1 + 1 + 2 + SESSION_ID_BYTES + 4 + NONCE_BYTES + 8 + 4;
/** Maximum bytes of HELLO's payload. Two ids of 128 characters and a secret need 342; the rest is for later versions. */
export const MAX_HELLO_BYTES = 1_024;

/** What an end says first on a link. */
export interface Hello {
  readonly lowest: number;
  readonly highest: number;
  readonly sessionId: Uint8Array;
  /** 1 for the first link of a session, then ascending. */
  readonly link: number;
  readonly nonce: Uint8Array;
  /** The offset up to which the sender has received whole frames. */
  readonly received: number;
  /** Seconds for which the sender keeps the session without a link; the lesser of both holds. */
  readonly retentionSeconds: number;
  /** What only the service side sends, and only on link 1. */
  readonly first?: FirstHello | undefined;
}

/** Starts a session. */
export interface FirstHello {
  /** From then on proves possession of the session. */
  readonly secret: Uint8Array;
  /** The device and module that the session is meant for; the device compares them with its own. An empty module means the device itself. */
  readonly deviceId: string;
  readonly moduleId: string;
}

/** The whole frame, as it is sent. */
export function encodeHello(hello: Hello): Uint8Array {
  const { first } = hello;
  const device = first === undefined ? EMPTY : ENCODER.encode(first.deviceId);
  const module = first === undefined ? EMPTY : ENCODER.encode(first.moduleId);
  const extra = first === undefined ? 0 : SECRET_BYTES + 1 + device.length + 1 + module.length;
  const payload = new Uint8Array(FIXED_BYTES + extra);
  payload[0] = hello.lowest;
  payload[1] = hello.highest;
  payload.set(hello.sessionId, 4);
  writeUint32(payload, 20, hello.link);
  payload.set(hello.nonce, 24);
  writeUint64(payload, 40, hello.received);
  writeUint32(payload, 48, hello.retentionSeconds);
  if (first !== undefined) {
    payload.set(first.secret, FIXED_BYTES);
    let at = FIXED_BYTES + SECRET_BYTES;
    for (const text of [device, module]) {
      payload[at] = text.length;
      payload.set(text, at + 1);
      at += 1 + text.length;
    }
  }
  return encodeFrame(FRAME.hello, 0, payload);
}

/** Parses HELLO's payload; undefined if it is malformed. What follows the known fields belongs to later versions and is ignored. */
export function parseHello(payload: Uint8Array, from: 'service' | 'device'): Hello | undefined {
  if (payload.length < FIXED_BYTES || payload.length > MAX_HELLO_BYTES) return undefined;
  const link = readUint32(payload, 20);
  const [lowest, highest] = [payload[0] as number, payload[1] as number];
  if (link === 0 || lowest > highest) return undefined;
  const first = link === 1 && from === 'service' ? parseFirst(payload) : undefined;
  if (link === 1 && from === 'service' && first === undefined) return undefined;
  return {
    lowest,
    highest,
    sessionId: payload.slice(4, 4 + SESSION_ID_BYTES),
    link,
    nonce: payload.slice(24, 24 + NONCE_BYTES),
    received: readUint64(payload, 40),
    retentionSeconds: readUint32(payload, 48),
    first,
  };
}

function parseFirst(payload: Uint8Array): FirstHello | undefined {
  const secret = payload.slice(FIXED_BYTES, FIXED_BYTES + SECRET_BYTES);
  const texts: string[] = [];
  let at = FIXED_BYTES + SECRET_BYTES;
  for (let index = 0; index < 2; index++) {
    const length = payload[at];
    if (length === undefined || at + 1 + length > payload.length) return undefined;
    texts.push(DECODER.decode(payload.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  const [deviceId, moduleId] = texts as [string, string];
  return { secret, deviceId, moduleId };
}

/** A HELLO frame without the secret, as it enters the proof. */
export function withoutSecret(frame: Uint8Array, hasSecret: boolean): Uint8Array {
  if (!hasSecret) return frame;
  const at = HEADER_BYTES + FIXED_BYTES;
  const copy = new Uint8Array(frame.length - SECRET_BYTES);
  copy.set(frame.subarray(0, at), 0);
  copy.set(frame.subarray(at + SECRET_BYTES), at);
  return copy;
}

/**
 * What PROOF is the HMAC of, with the session's secret as the key: both HELLO frames byte for byte, so that nothing in them can be changed, and
 * inside TLS the exporter of this link, so that it cannot be relayed to another one.
 */
export function proofInput(
  side: 'service' | 'device',
  serviceHello: Uint8Array,
  deviceHello: Uint8Array,
  binding: Uint8Array,
): Uint8Array {
  const label = ENCODER.encode(`culvert session 1 ${side}\0`);
  const parts = [label, serviceHello, deviceHello, binding];
  const input = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    input.set(part, at);
    at += part.length;
  }
  return input;
}

/** Compares in a time that depends on the lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= (a[index] as number) ^ (b[index] as number);
  return difference === 0;
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
