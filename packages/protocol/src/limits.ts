/** The limits of the wire, each with its unit and its reason. What an operator may change is in hub/config.ts. */
export const LIMITS = {
  /** Milliseconds from a service's request until both sides are joined; the preview's overview page says 60 s. */
  handshakeMs: 60_000,
  /** Milliseconds a connection may take to authenticate, on any door: a slow client is not worth more of a table's place. */
  authenticateMs: 10_000,
  /** Milliseconds of clock skew allowed to a SAS token's expiry; the preview's verifier allows five minutes. */
  clockSkewMs: 300_000,
  /** Bytes of payload of the frames a gateway sends, and what it holds for a peer who has not come: the preview's largest message. */
  frameBytes: 65_536,
  /** Bytes of an MQTT packet on a control channel: the preview's largest device-to-cloud message. */
  mqttPacketBytes: 262_144,
  /** Bytes of a SAS token; the longest real one (512-byte host, 128-byte id, all escaped) stays below 2 KiB. */
  sasTokenBytes: 4_096,
  /** Bytes of a grant's token: the C samples format it into a 1,024-byte array and crash beyond. */
  grantTokenBytes: 999,
  /** Bytes of UTF-8 of a rejection's reason, sent in an MQTT payload and an HTTP header. */
  rejectReasonBytes: 512,
  /** Milliseconds between the pings of our own ends: NATs and load balancers forget at 60 s (users.md 2.4). */
  pingMs: 25_000,
  /**
   * Milliseconds without a byte in the direction of a raw stream that goes on, after the other direction has ended. While bytes flow there is no
   * bound; a minute of silence is what load balancers and NATs allow a connection, and a program that computes its answer longer sends nothing meanwhile.
   */
  halfCloseMs: 60_000,
  /** Milliseconds a peer has to end its connection after it was told that the stream is over: a few round trips of a bad network. */
  lingerMs: 5_000,
  /** Milliseconds without progress of a write after which a stream is ended: TCP says nothing while data is unacknowledged. */
  stallMs: 300_000,
  /** Bytes of one WebSocket message an end accepts: the gateway passes longer ones on in fragments, an end must assemble them. */
  messageBytes: 16_777_216,
  /** Characters kept of what software a device says it is: for logs only. */
  clientVersionCharacters: 128,
} as const;
