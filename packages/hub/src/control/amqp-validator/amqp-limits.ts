import { LIMITS } from '@culvert/protocol';

/** The bounds of one AMQP connection, each with its unit and its reason (docs/protocol/09-control-channel-amqp.md). */
export const AMQP_LIMITS = {
  /** Bytes of a frame, announced as max-frame-size; nothing a control channel says needs more, and larger messages come in several. */
  frameBytes: 65_536,
  /** Bytes a peer may send before it has proved who it is, and of a frame until then: real clients need some 2 KiB, a SAS token is at most 4 KiB. */
  unauthenticatedBytes: LIMITS.unauthenticatedBytes,
  /** The least max-frame-size a peer may announce (AMQP 1.0 §2.8.8); below it a message could not be cut into frames. */
  leastFrameBytes: 512,
  /** Values nested in each other: performatives and messages of real clients nest five deep. */
  depth: 16,
  /** Values in one frame or message; each costs an object, whatever its bytes. A flood of telemetry properties stays below. */
  values: 4_096,
  /** Bytes that a frame of a message in several frames counts at least: what is kept of it costs memory beside its payload. */
  leastPieceBytes: 256,
  /** Identities on one connection: Azure allows 999 tokens, and the pool of its C# client puts up to 995 devices on one. */
  identities: 999,
  /** Sessions: one for each identity, as the C# client opens them, and some for CBS. Announced as channel-max. */
  spareSessions: 8,
  /** Links of one identity: telemetry, messages, twin, methods and streams are eight; twice that, for those attached again. */
  linksPerIdentity: 16,
  /** Links beside those: of CBS, and refused ones that the peer has not yet detached. */
  spareLinks: 16,
  /** Deliveries of one session that are neither settled nor, toward a peer without credit, sent: as many as offers are outstanding at most. */
  deliveries: 2_048,
  /** Tokens of one connection that are verified at once; the next ones wait to be read. A pool that reconnects puts hundreds. */
  tokensAtOnce: 32,
  /** Answers to tokens that wait for a link with credit to be sent on. */
  unansweredTokens: 256,
  /** The idle-time-out announced, in milliseconds: clients send something every half of it, before NATs forget at 60 s. */
  idleMs: 60_000,
  /** Milliseconds of silence after which a device is gone: one and a half of the idle-time-out, as with MQTT's keepalive. */
  silenceMs: 90_000,
  /** The least idle-time-out of a peer that is served, in milliseconds: for shorter ones the hub would do nothing but send. */
  leastIdleMs: 1_000,
} as const;
