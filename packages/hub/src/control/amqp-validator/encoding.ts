import { CulvertError } from '@culvert/protocol';
import { AMQP_LIMITS } from './amqp-limits.ts';

/** One encoded value: its format code (0x00: described) and its first and end offsets, including the format code. */
export interface Slot {
  readonly code: number;
  readonly start: number;
  readonly end: number;
}

/** All format codes of AMQP 1.0 §1.6, except 0x00 for described values. */
const CODES = new Set([
  ...[0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x60, 0x61, 0x70, 0x71, 0x72],
  ...[0x73, 0x74, 0x80, 0x81, 0x82, 0x83, 0x84, 0x94, 0x98, 0xa0, 0xa1, 0xa3, 0xb0, 0xb1, 0xb3, 0xc0, 0xc1, 0xd0],
  ...[0xd1, 0xe0, 0xf0],
]);

/** Bytes of a fixed-width value, by the upper four bits of its format code. */
const FIXED_WIDTHS: Readonly<Record<number, number>> = { 4: 0, 5: 1, 6: 2, 7: 4, 8: 8, 9: 16 };

const isMap = (code: number) => code === 0xc1 || code === 0xd1;

export const broken = (detail: string): CulvertError => new CulvertError('protocol_error', detail);

/**
 * Checks encoded values without decoding them, so that a decoder that runs afterwards gets only well-formed values, nested at most
 * {@link AMQP_LIMITS.depth} deep and no more than {@link AMQP_LIMITS.values}. Sizes and counts must agree with each other and with the data.
 */
export class EncodingWalk {
  readonly bytes: Buffer;
  #left: number = AMQP_LIMITS.values;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Checks the value at `start`, with all values in it. @throws CulvertError `protocol_error` */
  value(start: number, depth = 0): Slot {
    const code = this.#byte(start);
    if (code !== 0) return { code, start, end: this.#body(code, start + 1, depth) };
    const inner = this.#deeper(depth);
    const descriptor = this.value(start + 1, inner);
    if (!isDescriptor(descriptor.code)) throw broken('A described value without a proper descriptor.');
    return { code, start, end: this.value(descriptor.end, inner).end };
  }

  /** The descriptor and the value of a described value that was checked before. */
  described(slot: Slot): { readonly descriptor: Slot; readonly value: Slot } {
    return this.#withoutCounting(() => {
      const descriptor = this.value(slot.start + 1);
      return { descriptor, value: this.value(descriptor.end) };
    });
  }

  /** The elements of a list that was checked before. */
  elements(slot: Slot): Slot[] {
    if (slot.code === 0x45) return [];
    return this.#withoutCounting(() => {
      const { count, at } = this.#compound(slot.code, slot.start + 1);
      const slots: Slot[] = [];
      for (let index = 0, next = at; index < count; index++) {
        const element = this.value(next);
        slots.push(element);
        next = element.end;
      }
      return slots;
    });
  }

  /** Reads values that were counted before, without counting them again. */
  #withoutCounting<T>(read: () => T): T {
    const left = this.#left;
    this.#left = Number.POSITIVE_INFINITY;
    const result = read();
    this.#left = left;
    return result;
  }

  /** The end offset of a value's body, which begins at `at`, after the format code. */
  #body(code: number, at: number, depth: number): number {
    if (!CODES.has(code)) throw broken(`An unknown format code, 0x${code.toString(16)}.`);
    if (--this.#left < 0) throw broken('Too many values.');
    const category = code >> 4;
    const fixed = FIXED_WIDTHS[category];
    if (fixed !== undefined) return this.#until(at + fixed);
    const wide = (category & 1) === 1;
    if (category < 0xc) return this.#until(at + (wide ? 4 + this.#uint32(at) : 1 + this.#byte(at)));
    return category < 0xe ? this.#compoundEnd(code, at, depth) : this.#arrayEnd(wide, at, depth);
  }

  #compoundEnd(code: number, at: number, depth: number): number {
    const { count, at: first, end } = this.#compound(code, at);
    if (isMap(code) && count % 2 !== 0) throw broken('A map with a key and no value.');
    const inner = this.#deeper(depth);
    let next = first;
    for (let index = 0; index < count; index++) next = this.value(next, inner).end;
    if (next !== end) throw broken('A compound value whose size is not the size of its elements.');
    return end;
  }

  #arrayEnd(wide: boolean, at: number, depth: number): number {
    const { count, at: first, end } = this.#sized(wide, at);
    const inner = this.#deeper(depth);
    let next = first;
    while (this.#byte(next) === 0) next = this.#arrayDescriptor(next, inner);
    const code = this.#byte(next++);
    for (let index = 0; index < count; index++) next = this.#body(code, next, inner);
    // An array has a constructor even when it has no elements (§1.6.24).
    if (next !== end || !CODES.has(code)) throw broken('An array whose size is not the size of its elements.');
    return end;
  }

  #arrayDescriptor(at: number, depth: number): number {
    const descriptor = this.value(at + 1, depth);
    if (!isDescriptor(descriptor.code)) throw broken('An array without a proper descriptor.');
    return descriptor.end;
  }

  #compound(code: number, at: number): { count: number; at: number; end: number } {
    return this.#sized(code >> 4 === 0xd, at);
  }

  /** Reads the size and the count, of one byte or four bytes each. The size does not include its own bytes. */
  #sized(wide: boolean, at: number): { count: number; at: number; end: number } {
    const width = wide ? 4 : 1;
    const size = wide ? this.#uint32(at) : this.#byte(at);
    const count = wide ? this.#uint32(at + 4) : this.#byte(at + 1);
    if (size < width) throw broken('A compound value without room for its count.');
    return { count, at: at + 2 * width, end: this.#until(at + width + size) };
  }

  #deeper(depth: number): number {
    if (depth >= AMQP_LIMITS.depth) throw broken('Values are nested too deep.');
    return depth + 1;
  }

  #byte(at: number): number {
    const byte = this.bytes[at];
    if (byte === undefined) throw broken('A value is cut short.');
    return byte;
  }

  #uint32(at: number): number {
    if (at + 4 > this.bytes.length) throw broken('A value is cut short.');
    return this.bytes.readUInt32BE(at);
  }

  #until(end: number): number {
    if (end > this.bytes.length) throw broken('A value is longer than the data that contains it.');
    return end;
  }
}

function isDescriptor(code: number): boolean {
  return code === 0x44 || code === 0x53 || code === 0x80 || code === 0xa3 || code === 0xb3;
}
