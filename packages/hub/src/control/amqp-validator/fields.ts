import { broken, type EncodingWalk, type Slot } from './encoding.ts';

/** The fields of a described list, such as a performative or a terminus (AMQP 1.0 §1.4). Each is read by its index and its type. */
export class Fields {
  readonly #walk: EncodingWalk;
  readonly #slots: readonly Slot[];

  constructor(walk: EncodingWalk, slots: readonly Slot[]) {
    this.#walk = walk;
    this.#slots = slots;
  }

  /** Undefined when the field is absent. @throws CulvertError `protocol_error` when it has another type, as do the methods below */
  uint(index: number): number | undefined {
    const slot = this.#slot(index);
    if (slot === undefined) return undefined;
    const { bytes } = this.#walk;
    if (slot.code === 0x43) return 0;
    if (slot.code === 0x52) return bytes.readUInt8(slot.start + 1);
    if (slot.code === 0x70) return bytes.readUInt32BE(slot.start + 1);
    throw wrongType(index, 'uint');
  }

  requiredUint(index: number): number {
    return required(this.uint(index), index);
  }

  ushort(index: number): number | undefined {
    return this.#typed(index, 'ushort', [0x60], (start) => this.#walk.bytes.readUInt16BE(start + 1));
  }

  /** False when the field is absent: that is the default of every boolean field that is read here. */
  boolean(index: number): boolean {
    const read = (start: number, code: number) => (code === 0x56 ? this.#walk.bytes[start + 1] === 1 : code === 0x41);
    return this.#typed(index, 'boolean', [0x41, 0x42, 0x56], read) ?? false;
  }

  string(index: number): string | undefined {
    return this.#typed(index, 'string', [0xa1, 0xb1], (start, code, end) => this.#text(start, code, end));
  }

  requiredString(index: number): string {
    return required(this.string(index), index);
  }

  symbol(index: number): string | undefined {
    return this.#typed(index, 'symbol', [0xa3, 0xb3], (start, code, end) => this.#text(start, code, end));
  }

  binary(index: number): Buffer | undefined {
    return this.#typed(index, 'binary', [0xa0, 0xb0], (start, code, end) =>
      this.#walk.bytes.subarray(start + (code === 0xb0 ? 5 : 2), end),
    );
  }

  /** The descriptor code of a described list; undefined when the field is absent. */
  describedList(index: number): number | undefined {
    return this.#typed(index, 'described list', [0], (start, code, end) => {
      const { descriptor, value } = this.#walk.described({ code, start, end });
      if (!isList(value.code)) throw wrongType(index, 'described list');
      return descriptorCode(this.#walk.bytes, descriptor);
    });
  }

  /** Whether the field, which must be a map, is present. */
  map(index: number): boolean {
    return this.#typed(index, 'map', [0xc1, 0xd1], () => true) ?? false;
  }

  #typed<T>(
    index: number,
    type: string,
    codes: readonly number[],
    read: (start: number, code: number, end: number) => T,
  ): T | undefined {
    const slot = this.#slot(index);
    if (slot === undefined) return undefined;
    if (!codes.includes(slot.code)) throw wrongType(index, type);
    return read(slot.start, slot.code, slot.end);
  }

  #text(start: number, code: number, end: number): string {
    return this.#walk.bytes.toString('utf8', start + (code >> 4 === 0xb ? 5 : 2), end);
  }

  #slot(index: number): Slot | undefined {
    const slot = this.#slots[index];
    return slot === undefined || slot.code === 0x40 ? undefined : slot;
  }
}

export const isList = (code: number): boolean => code === 0x45 || code === 0xc0 || code === 0xd0;

/**
 * Names of the descriptors that may also be sent as symbols, `amqp:{name}:list`: of performatives, outcomes and termini (§2.7, §3.4, §3.5). Their
 * codes are consecutive, beginning with `first`.
 */
const SYMBOLS: readonly (readonly [first: number, names: readonly string[]])[] = [
  [0x10, ['open', 'begin', 'attach', 'flow', 'transfer', 'disposition', 'detach', 'end', 'close']],
  [0x23, ['received', 'accepted', 'rejected', 'released', 'modified', 'source', 'target']],
];

const BY_SYMBOL: ReadonlyMap<string, number> = new Map(
  SYMBOLS.flatMap(([first, names]) => names.map((name, index) => [`amqp:${name}:list`, first + index] as const)),
);

/** The code of a descriptor; -1 for an unknown one. */
export function descriptorCode(bytes: Buffer, { code, start, end }: Slot): number {
  if (code === 0x44) return 0;
  if (code === 0x53) return bytes.readUInt8(start + 1);
  if (code === 0x80) return bytes.readUInt32BE(start + 1) === 0 ? bytes.readUInt32BE(start + 5) : -1;
  return BY_SYMBOL.get(bytes.toString('ascii', start + (code === 0xb3 ? 5 : 2), end)) ?? -1;
}

function required<T>(value: T | undefined, index: number): T {
  if (value === undefined) throw broken(`The mandatory field ${index} is missing.`);
  return value;
}

function wrongType(index: number, type: string): Error {
  return broken(`Field ${index} is not of type ${type}.`);
}
