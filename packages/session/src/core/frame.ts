/**
 * The frames of a session (docs/protocol/10-session.md): `type u8 | length u24 | connection u32`, then the payload; numbers are big-endian.
 * Connection 0 is the session itself. A session's byte offsets count the headers and payloads of all frames whose type has no `UNCOUNTED_BIT`.
 */

/** Bytes of a frame's header. */
export const HEADER_BYTES = 8;

/** Maximum payload bytes of a frame: with its header, it fits into one WebSocket message of 64 KiB. */
export const MAX_PAYLOAD_BYTES = 65_528;

/** Types with this bit are not counted in the session's byte offsets and not replayed, unknown types included. */
export const UNCOUNTED_BIT = 0x40;

/** An unknown type with this bit is ignored. Any other unknown type ends the session. */
export const IGNORABLE_BIT = 0x80;

/** The types of frames. */
export const FRAME = {
  /** Receive limit u32, then the name of the service in UTF-8. From the service side only. */
  open: 0x01,
  /** Receive limit u32. */
  opened: 0x02,
  /** Reason u8, then a text in UTF-8. */
  refused: 0x03,
  /** 1 to 65,528 bytes. */
  data: 0x04,
  /** No payload: the sender's direction has ended, after all its DATA. */
  end: 0x05,
  /** Reason u8. */
  reset: 0x06,
  /** u64: the total of payload bytes that the peer may send on this connection. */
  limit: 0x07,
  hello: 0x40,
  proof: 0x41,
  /** u64: the offset up to which the sender has read whole frames. */
  ack: 0x42,
  /** 8 bytes, which PONG repeats. */
  ping: 0x43,
  pong: 0x44,
  /** Reason u8, the highest connection id of an OPEN that was sent or received u32, then a text in UTF-8. */
  bye: 0x45,
} as const;

/** Maximum bytes of the service's name in OPEN. */
export const MAX_SERVICE_BYTES = 128;

/** Maximum bytes of the text in REFUSED and in BYE. */
export const MAX_TEXT_BYTES = 256;

const ENCODER = new TextEncoder();

/** The text of REFUSED and BYE in UTF-8: at most {@link MAX_TEXT_BYTES}, without half a character at the end. */
export function encodeText(text: string): Uint8Array {
  const bytes = ENCODER.encode(text);
  if (bytes.length <= MAX_TEXT_BYTES) return bytes;
  // At a character's border: bytes 10xxxxxx continue one.
  let end = MAX_TEXT_BYTES;
  while (((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.slice(0, end);
}

/** Why a connection was refused or reset; the number is sent. */
export const CONNECTION_REASONS = {
  /** The program at the other end reset its TCP connection. */
  reset: 0,
  /** The target refused the TCP connection. */
  refused: 1,
  /** There is no route to the target, or its name is unknown. */
  unreachable: 2,
  /** The target did not answer in time. */
  timed_out: 3,
  /** The device does not offer a service of this name. */
  not_offered: 4,
  /** The device has as many connections as it may have. */
  too_many: 5,
  /** The device has no memory for another connection. Only received: this end bounds its memory by other limits and says `too_many`. */
  out_of_memory: 6,
  /** The peer sent more than its limit. */
  flow_control: 7,
  /** The other end is about to stop. */
  going_away: 8,
  /** The caller may not open this service. */
  not_permitted: 9,
} as const;
/** A key of {@link CONNECTION_REASONS}. */
export type ConnectionReason = keyof typeof CONNECTION_REASONS;

/** Why a session ended; the number is sent in BYE. */
export const SESSION_REASONS = {
  /** Nothing was open for a while, a program closed it, or it answers BYE. */
  done: 0,
  /** The device is about to stop. */
  draining: 1,
  /** The link was lost for longer than the retention. */
  expired: 2,
  /** The peer has no such session: it was started anew, or never received the first link. */
  unknown: 3,
  /**
   * The sender could not be convinced by PROOF. Only received: this end drops a link with a bad proof and says nothing, since anybody may have sent it,
   * and keeps the session.
   */
  proof: 4,
  /** The peer broke the protocol. */
  protocol: 5,
  /** No version in common. */
  version: 6,
  /** The peer claims to have received what was not sent. */
  offsets: 7,
  /** The device does not accept the service side's key. */
  key_refused: 8,
  /** No data was sent for as long as the hub allows. */
  idle: 9,
  /** The device has as many sessions as it may have. */
  too_many: 10,
} as const;
/** A key of {@link SESSION_REASONS}. */
export type SessionReason = keyof typeof SESSION_REASONS;

const CONNECTION_REASON_NAMES = Object.keys(CONNECTION_REASONS) as ConnectionReason[];
const SESSION_REASON_NAMES = Object.keys(SESSION_REASONS) as SessionReason[];

/** The reason with this number. An unknown number is `reset`, so that a newer peer may have more reasons. */
export function connectionReason(code: number | undefined): ConnectionReason {
  return CONNECTION_REASON_NAMES.find((name) => CONNECTION_REASONS[name] === code) ?? 'reset';
}

/** The reason with this number. An unknown number is `protocol`. */
export function sessionReason(code: number | undefined): SessionReason {
  return SESSION_REASON_NAMES.find((name) => SESSION_REASONS[name] === code) ?? 'protocol';
}

/** Writes a frame's header at `at`. */
export function writeHeader(target: Uint8Array, at: number, type: number, length: number, connection: number): void {
  target[at] = type;
  target[at + 1] = length >>> 16;
  target[at + 2] = length >>> 8;
  target[at + 3] = length;
  writeUint32(target, at + 4, connection);
}

/** A whole frame in one new array. */
export function encodeFrame(type: number, connection: number, payload: Uint8Array = EMPTY): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + payload.length);
  writeHeader(frame, 0, type, payload.length, connection);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** Writes a u32. */
export function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

/** Reads a u32. */
export function readUint32(source: Uint8Array, at: number): number {
  return (
    (source[at] as number) * 0x1000000 +
    (((source[at + 1] as number) << 16) | ((source[at + 2] as number) << 8) | (source[at + 3] as number))
  );
}

/** Writes a u64 that is a safe integer (below 2^53). */
export function writeUint64(target: Uint8Array, at: number, value: number): void {
  writeUint32(target, at, Math.floor(value / 0x100000000));
  writeUint32(target, at + 4, value % 0x100000000);
}

/** Reads a u64. A value of 2^53 or more becomes inexact; no session sends so many bytes, so every range check rejects it. */
export function readUint64(source: Uint8Array, at: number): number {
  return readUint32(source, at) * 0x100000000 + readUint32(source, at + 4);
}

/** The payload of ACK and LIMIT. */
export function encodeUint64(value: number): Uint8Array {
  const payload = new Uint8Array(8);
  writeUint64(payload, 0, value);
  return payload;
}

/** The frame BYE. @param highestId the highest connection id of an OPEN that was sent or received; 0 if there was none */
export function encodeBye(reason: SessionReason, highestId: number, text: string): Uint8Array {
  const words = encodeText(text);
  const payload = new Uint8Array(BYE_FIXED_BYTES + words.length);
  payload[0] = SESSION_REASONS[reason];
  writeUint32(payload, 1, highestId);
  payload.set(words, BYE_FIXED_BYTES);
  return encodeFrame(FRAME.bye, 0, payload);
}

/** Bytes of BYE's payload before its text. */
export const BYE_FIXED_BYTES = 5;

/** No bytes. */
export const EMPTY = new Uint8Array(0);
