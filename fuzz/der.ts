import type { Prng } from './prng.ts';

/** A DER element; its content is bytes or nested elements. */
export interface DerNode {
  tag: number;
  content: Buffer | DerNode[];
}

/** Parses valid DER. */
export function parseDer(bytes: Buffer): DerNode[] {
  const nodes: DerNode[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes.readUInt8(at);
    const first = bytes.readUInt8(at + 1);
    const extra = first < 0x80 ? 0 : first & 0x7f;
    const length = extra === 0 ? first : bytes.readUIntBE(at + 2, extra);
    const start = at + 2 + extra;
    at = start + length;
    const content = bytes.subarray(start, at);
    // This bit marks a tag whose content is nested elements (X.690 §8.1.2.5).
    nodes.push({ tag, content: tag & 0x20 ? parseDer(content) : Buffer.from(content) });
  }
  return nodes;
}

/** Encodes DER with correct lengths. */
export function encodeDer({ tag, content }: DerNode): Buffer {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.concat(content.map(encodeDer));
  const { length } = bytes;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), bytes]);
}

/** Replacement elements for certificates: unusual or invalid names, dates, numbers and extensions. */
const PIECES = [
  '0500',
  '3000',
  '0101ff',
  '020100',
  '0201ff',
  '0208ffffffffffffffff',
  '0c00',
  '0c0464310064',
  '1e040000d800',
  '17053230303030',
  '170d3939393939393939393939395a',
  '180f39393939393939393939393939395a',
  '0603551d13',
  '0603551d1e',
  '06082b06010505070302',
  '04023000',
  '040530030101ff',
  '0408300602010102017f',
  '0303070001',
].map((hex) => parseDer(Buffer.from(hex, 'hex')));

/** Changes some elements anywhere in a tree, in place; the result is still DER. */
export function damageDer(random: Prng, root: DerNode): void {
  for (let count = random.integer(1, 3); count > 0; count--) damageOne(random, root);
}

function damageOne(random: Prng, root: DerNode): void {
  let parent = root;
  let children = childrenOf(parent);
  // Descend a random number of levels.
  while (random.chance(0.8)) {
    const next = random.pick(children);
    if (Buffer.isBuffer(next.content) || next.content.length === 0) break;
    parent = next;
    children = next.content;
  }
  const at = random.integer(0, children.length - 1);
  const node = children[at] as DerNode;
  switch (random.integer(0, 6)) {
    case 0:
      children.splice(at, 1);
      break;
    case 1:
      children.splice(random.integer(0, children.length), 0, copyOf(node));
      break;
    case 2:
      children.splice(at, 1, ...random.pick(PIECES).map(copyOf));
      break;
    case 3:
      node.tag = random.integer(1, 0xff) & (Buffer.isBuffer(node.content) ? 0xdf : 0xff);
      break;
    case 4:
      children.push(...children.splice(at, 1));
      break;
    default:
      if (Buffer.isBuffer(node.content)) node.content = damageBytes(random, node.content);
  }
}

function childrenOf({ content }: DerNode): DerNode[] {
  if (Buffer.isBuffer(content)) throw new Error('The element has no nested elements.');
  return content;
}

function copyOf({ tag, content }: DerNode): DerNode {
  return { tag, content: Buffer.isBuffer(content) ? Buffer.from(content) : content.map(copyOf) };
}

function damageBytes(random: Prng, bytes: Buffer): Buffer {
  const at = random.integer(0, bytes.length);
  return random.pick<() => Buffer>([
    () => Buffer.concat([bytes.subarray(0, at), random.bytes(random.integer(1, 3)), bytes.subarray(at + 1)]),
    () => Buffer.from(bytes.subarray(0, at)),
    () => random.bytes(bytes.length),
    () => Buffer.concat([bytes, random.bytes(random.pick([1, 100, 1_000]))]),
  ])();
}
