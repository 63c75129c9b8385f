const CONNECT = 1;

/**
 * The protocol level in a complete CONNECT packet (MQTT 3.1.1 §3.1.2.2). It is read separately because the parser supports only some levels.
 * Undefined when the packet is not a CONNECT or is for another protocol.
 */
export function protocolLevel(packet: Uint8Array): number | undefined {
  if ((packet[0] ?? 0) >> 4 !== CONNECT) return undefined;
  let at = 1;
  while (((packet[at] ?? 0) & 0x80) !== 0) at++;
  at++;
  const length = ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);
  const name = new TextDecoder().decode(packet.subarray(at + 2, at + 2 + length));
  // MQIsdp is the name of MQTT 3.1, level 3.
  return name === 'MQTT' || name === 'MQIsdp' ? packet[at + 2 + length] : undefined;
}
