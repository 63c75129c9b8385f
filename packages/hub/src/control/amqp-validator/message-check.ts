import { broken, EncodingWalk } from './encoding.ts';
import { descriptorCode, isList } from './fields.ts';

const isMap = (code: number) => code === 0xc1 || code === 0xd1;
const isBinary = (code: number) => code === 0xa0 || code === 0xb0;

interface Section {
  readonly name: string;
  readonly holds: (code: number) => boolean;
  /** Whether a message may have several of this section. */
  readonly repeats?: boolean;
}

/** The sections of a message (AMQP 1.0 §3.2), by descriptor. */
const SECTIONS: Readonly<Record<number, Section>> = {
  112: { name: 'header', holds: isList },
  113: { name: 'delivery-annotations', holds: isMap },
  114: { name: 'message-annotations', holds: isMap },
  115: { name: 'properties', holds: isList },
  116: { name: 'application-properties', holds: isMap },
  117: { name: 'data', holds: isBinary, repeats: true },
  118: { name: 'amqp-sequence', holds: isList, repeats: true },
  119: { name: 'amqp-value', holds: () => true },
  120: { name: 'footer', holds: isMap },
};

/**
 * Checks that a message consists of the sections that AMQP defines, so that decoding it cannot fail.
 * @throws CulvertError `protocol_error`
 */
export function checkMessage(message: Buffer): void {
  const walk = new EncodingWalk(message);
  const seen = new Set<string>();
  for (let at = 0; at < message.length; ) {
    const slot = walk.value(at);
    if (slot.code !== 0) throw broken('A message with a value that is not a section.');
    const { descriptor, value } = walk.described(slot);
    const section = SECTIONS[descriptorCode(message, descriptor)];
    if (section === undefined) throw broken('A message with an unknown section.');
    if (!section.holds(value.code)) throw broken(`A message whose ${section.name} has the wrong type.`);
    if (seen.has(section.name) && !section.repeats) throw broken(`A message with two sections ${section.name}.`);
    seen.add(section.name);
    at = slot.end;
  }
  if (seen.size === 0) throw broken('An empty message.');
}
