import { describe, expect, it } from 'vitest';
import { CulvertError, ERRORS, type ErrorCode } from '../errors.ts';
import { encodePacket, PacketReader } from './codec.ts';
import { connackReason, disconnectReason } from './reason-codes.ts';

const CODES = Object.keys(ERRORS) as ErrorCode[];

describe('reason codes', () => {
  it.each(CODES)('%s makes a CONNACK and a DISCONNECT that a parser takes', (code) => {
    const error = new CulvertError(code);
    const packets = [
      { cmd: 'connack', sessionPresent: false, reasonCode: connackReason(error) },
      { cmd: 'disconnect', reasonCode: disconnectReason(error) },
    ] as const;
    for (const packet of packets) {
      const [read] = [...new PacketReader(1_000, 5).push(encodePacket(packet, 5))];
      expect(read).toMatchObject({ cmd: packet.cmd, reasonCode: packet.reasonCode });
      expect(packet.reasonCode).toBeGreaterThanOrEqual(0x80);
    }
  });

  it('are those of the error table where the packet allows them', () => {
    expect(disconnectReason(new CulvertError('taken_over'))).toBe(0x8e);
    expect(disconnectReason(new CulvertError('device_gone'))).toBe(0x80);
    expect(connackReason(new CulvertError('protocol_unsupported'))).toBe(0x84);
    expect(connackReason(new CulvertError('draining'))).toBe(0x88);
    expect(connackReason(new CulvertError('revoked'))).toBe(0x87);
  });
});
