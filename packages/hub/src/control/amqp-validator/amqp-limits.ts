import { LIMITS } from '@culvert/protocol';

/** The limits of one AMQP connection, each with its unit and its reason (docs/protocol/09-control-channel-amqp.md). */
export const AMQP_LIMITS = {
  /** Maximum bytes of a frame, announced as max-frame-size. Control channels need no larger frames; larger messages are sent in several frames. */
  frameBytes: 65_536,
  /** Maximum bytes from a peer before it authenticates, also of one frame: real clients send about 2 KiB, and a SAS token is at most 4 KiB. */
  unauthenticatedBytes: LIMITS.unauthenticatedBytes,
  /** The least max-frame-size a peer may announce, in bytes (AMQP 1.0 §2.8.8). With a smaller one, messages could not be split into frames. */
  leastFrameBytes: 512,
  /** Maximum nesting depth of values: performatives and messages of real clients have a depth of five. */
  depth: 16,
  /** Maximum values in one frame or message: each takes an object in memory, however small. Messages with many telemetry properties have fewer. */
  values: 4_096,
  /** Minimum bytes that are counted for each frame of a multi-frame message: a kept frame takes memory besides its payload. */
  leastPieceBytes: 256,
  /** Maximum identities on one connection: Azure allows 999 tokens, and the pool of its C# client puts up to 995 devices on one connection. */
  identities: 999,
  /** Sessions of a connection besides one for each identity, as the C# client opens them: these are for CBS. Announced as part of channel-max. */
  spareSessions: 8,
  /** Maximum links per identity: telemetry, messages, twin, methods and streams take eight; twice that, for links that are attached again. */
  linksPerIdentity: 16,
  /** Links of a connection besides those of identities: for CBS, and refused links that the peer has not detached yet. */
  spareLinks: 16,
  /** Maximum deliveries of one session that are not settled, or not sent for lack of credit: as many as offers can be outstanding. */
  deliveries: 2_048,
  /** Maximum tokens of one connection that are verified at once; reading then pauses. A connection pool that reconnects sends hundreds. */
  tokensAtOnce: 32,
  /** Maximum replies to tokens that wait for a link with credit. */
  unansweredTokens: 256,
  /** The idle-time-out announced, in milliseconds: clients send a frame after half of it, before NATs drop idle connections after 60 s. */
  idleMs: 60_000,
  /** Milliseconds without data after which a device is considered gone: one and a half times the idle-time-out, as for MQTT's keep-alive. */
  silenceMs: 90_000,
  /** The least idle-time-out a peer may announce, in milliseconds: with a shorter one the hub would do little but send keep-alives. */
  leastIdleMs: 1_000,
} as const;
