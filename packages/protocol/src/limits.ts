/** The limits of the wire, each with its unit and its reason. What an operator may change is in hub/config.ts. */
export const LIMITS = {
  /** Milliseconds from a service's request until the stream is established; Azure's overview page says 60 s. */
  handshakeMs: 60_000,
  /** Milliseconds a connection may take to authenticate, at any listener: a slow client must not occupy a slot for longer. */
  authenticateMs: 10_000,
  /** Milliseconds in which the first message of TLS must have come, and before it a PROXY header where one is expected: a client sends it at once, so this is for lost packets. */
  clientHelloMs: 5_000,
  /** Bytes a client may send before its TLS handshake is done: with keys for post-quantum exchange and a certificate with its chain, real clients send below 10,000. */
  tlsHandshakeBytes: 16_384,
  /** Bytes a device may send on its control channel before it has authenticated: a CONNECT or a SASL exchange with the longest token is below 6 KiB. */
  unauthenticatedBytes: 16_384,
  /** Milliseconds of clock skew allowed for a SAS token's expiry; Azure's verifier allows five minutes. */
  clockSkewMs: 300_000,
  /** Maximum payload bytes of a frame that a gateway sends, and of what it buffers until the other side connects: Azure's largest message. */
  frameBytes: 65_536,
  /** Maximum bytes of an MQTT packet on a control channel: Azure's largest device-to-cloud message. */
  mqttPacketBytes: 262_144,
  /** Maximum bytes of a SAS token; the longest real one (512-byte host, 128-byte id, all escaped) stays below 2 KiB. */
  sasTokenBytes: 4_096,
  /** Maximum bytes of a grant's token: Azure's C samples copy it into a 1,024-byte array and crash beyond. */
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
  /** Milliseconds without progress of a write after which a stream is ended: TCP reports nothing while data is unacknowledged. */
  stallMs: 300_000,
  /** Maximum bytes of a WebSocket message that an end accepts: the gateway forwards longer ones in fragments, which an end must assemble. */
  messageBytes: 16_777_216,
  /** Maximum characters kept of a device's software name: for logs only. */
  clientVersionCharacters: 128,
} as const;
