/** The limits of the wire protocols, each with its unit and its reason. Limits that an operator may change are in hub/src/config/. */
export const LIMITS = {
  /** Milliseconds from a service's request until the stream is established; Azure's overview page says 60 s. */
  handshakeMs: 60_000,
  /** Milliseconds a connection may take to authenticate, at any listener, so that a slow client does not occupy a connection slot for long. */
  authenticateMs: 10_000,
  /**
   * Milliseconds within which the first TLS message must be received, including the PROXY header before it where one is expected. Clients send
   * it at once; the time allows for lost packets.
   */
  clientHelloMs: 5_000,
  /**
   * Bytes a client may send before its TLS handshake is complete. Real clients send fewer than 10,000, even with post-quantum keys and a
   * certificate chain.
   */
  tlsHandshakeBytes: 16_384,
  /** Bytes a device may send on its control channel before it has authenticated. A CONNECT or SASL exchange with the longest token is below 6 KiB. */
  unauthenticatedBytes: 16_384,
  /** Milliseconds of clock skew allowed when a SAS token's expiry is checked: five minutes, as Azure allows. */
  clockSkewMs: 300_000,
  /**
   * Maximum payload bytes of a frame that a gateway sends; also the number of buffered bytes at which it stops reading from a side that waits
   * for the other. Azure's largest message.
   */
  frameBytes: 65_536,
  /** Maximum bytes of an MQTT packet on a control channel: Azure's largest device-to-cloud message. */
  mqttPacketBytes: 262_144,
  /** Maximum bytes of a SAS token; the longest real one (512-byte host, 128-byte id, everything escaped) is shorter than 2 KiB. */
  sasTokenBytes: 4_096,
  /** Maximum bytes of a grant's token: Azure's C samples copy it into an array of 1,024 bytes and crash if it is longer. */
  grantTokenBytes: 999,
  /** Bytes of UTF-8 in the reason of a rejection, which is sent in an MQTT payload and an HTTP header. */
  rejectReasonBytes: 512,
  /** Milliseconds between WebSocket pings or other keep-alive messages. NATs and load balancers drop connections that are silent for 60 s. */
  pingMs: 25_000,
  /**
   * Milliseconds without a byte after which a half-closed raw stream fails: one direction has ended, and the other one is silent for this long.
   * While bytes flow there is no limit. A minute is the silence that load balancers and NATs allow. A program that computes its answer for longer
   * sends nothing in that time, so its stream fails.
   */
  halfCloseMs: 60_000,
  /** Milliseconds a peer has to end its connection after it was sent the end of the stream: a few round trips on a bad network. */
  lingerMs: 5_000,
  /** Milliseconds without progress of a write after which a stream is ended. TCP itself reports no error while data is unacknowledged. */
  stallMs: 300_000,
  /** Maximum bytes of a WebSocket message that an end accepts. The end must assemble a message from its fragments, which the gateway forwards singly. */
  messageBytes: 16_777_216,
  /** Maximum characters kept of a device's software name, which is used only in logs. */
  clientVersionCharacters: 128,
} as const;
