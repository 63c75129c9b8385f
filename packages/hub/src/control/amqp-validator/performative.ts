import { broken, EncodingWalk } from './encoding.ts';
import { descriptorCode, Fields, isList } from './fields.ts';

/** Codes of the performatives (AMQP 1.0 §2.7) and of sasl-init, which a client sends in the SASL layer (§5.3.3.2). */
export const PERFORMATIVES = {
  open: 0x10,
  begin: 0x11,
  attach: 0x12,
  flow: 0x13,
  transfer: 0x14,
  disposition: 0x15,
  detach: 0x16,
  end: 0x17,
  close: 0x18,
  saslInit: 0x41,
} as const;

/** A frame as read: the code and fields of its performative, its channel, and the payload after the performative. */
export interface Performative {
  readonly code: number;
  readonly channel: number;
  readonly fields: Fields;
  readonly payload: Buffer;
}

/** The type of a frame, in its header (§2.3.1, §5.3.1). */
export const FRAME_TYPES = { amqp: 0, sasl: 1 } as const;

/**
 * Reads a complete frame; undefined when it is empty, which serves only as a keep-alive (§2.4.5).
 * @throws CulvertError `protocol_error`
 */
export function readPerformative(frame: Buffer, type: number): Performative | undefined {
  const offset = frame.readUInt8(4) * 4;
  if (offset < 8 || offset > frame.length) throw broken('A frame whose data offset lies outside the frame.');
  if (frame.readUInt8(5) !== type) throw broken(`A frame of type ${frame.readUInt8(5)} instead of ${type}.`);
  if (offset === frame.length) return undefined;
  const walk = new EncodingWalk(frame);
  const slot = walk.value(offset);
  if (slot.code !== 0) throw broken('A frame without a performative.');
  const { descriptor, value } = walk.described(slot);
  if (!isList(value.code)) throw broken('A performative that is not a list.');
  return {
    code: descriptorCode(frame, descriptor),
    channel: type === FRAME_TYPES.amqp ? frame.readUInt16BE(6) : 0,
    fields: new Fields(walk, walk.elements(value)),
    payload: frame.subarray(slot.end),
  };
}
