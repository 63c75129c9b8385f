/**
 * The subset of WebAssembly's binary format (core specification 2.0, chapter 5) needed for one readable function: types are
 * i32 and v128, the memory is imported, nothing is returned.
 */

/** Opcodes by their names in the text format (§5.4); vector opcodes (§5.4.8) have the prefix 0xfd. */
const OPCODES = {
  block: [0x02, 0x40],
  loop: [0x03, 0x40],
  end: [0x0b],
  br: [0x0c],
  br_if: [0x0d],
  return: [0x0f],
  if: [0x04, 0x40],
  'local.get': [0x20],
  'local.set': [0x21],
  'i32.load': [0x28, 0x02],
  'i32.load8_u': [0x2d, 0x00],
  'i32.store': [0x36, 0x02],
  'i32.store8': [0x3a, 0x00],
  'i32.const': [0x41],
  'i32.eqz': [0x45],
  'i32.eq': [0x46],
  'i32.add': [0x6a],
  'i32.and': [0x71],
  'i32.xor': [0x73],
  'i32.shr_u': [0x76],
  'memory.copy': [0xfc, 0x0a, 0x00, 0x00],
  'v128.load': [0xfd, 0x00, 0x04],
  'v128.store': [0xfd, 0x0b, 0x04],
  'v128.xor': [0xfd, 0x51],
  'i32x4.splat': [0xfd, 0x11],
} as const;

type Opcode = keyof typeof OPCODES;

/** An instruction as in the text format: its name, then its immediate (a constant, an index, an offset). */
export type Instruction = readonly [Opcode] | readonly [Opcode, number];

const TYPES = { i32: 0x7f, v128: 0x7b } as const;

export type ValueType = keyof typeof TYPES;

export interface WasmFunction {
  /** The export name. */
  readonly name: string;
  readonly parameters: readonly ValueType[];
  readonly locals: readonly ValueType[];
  readonly body: readonly Instruction[];
}

/** A module that exports one function and imports the memory `memory` of `environment`, of `pages` pages of 64 KiB. */
export function assembleModule({ name, parameters, locals, body }: WasmFunction, pages: number): Uint8Array {
  const type = [0x60, ...vector(parameters.map((one) => [TYPES[one]])), 0];
  const memory = [...text('environment'), ...text('memory'), 0x02, 0x01, ...unsigned(pages), ...unsigned(pages)];
  const code = [
    ...vector(locals.map((one) => [1, TYPES[one]])),
    ...body.flatMap(([opcode, immediate]) => [
      ...OPCODES[opcode],
      ...(immediate === undefined ? [] : opcode === 'i32.const' ? signed(immediate) : unsigned(immediate)),
    ]),
    ...OPCODES.end,
  ];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d],
    ...[0x01, 0x00, 0x00, 0x00],
    ...section(1, [type]),
    ...section(2, [memory]),
    ...section(3, [[0]]),
    ...section(7, [[...text(name), 0x00, 0x00]]),
    ...section(10, [[...unsigned(code.length), ...code]]),
  ]);
}

function section(id: number, entries: readonly (readonly number[])[]): number[] {
  const content = vector(entries);
  return [id, ...unsigned(content.length), ...content];
}

function vector(entries: readonly (readonly number[])[]): number[] {
  return [...unsigned(entries.length), ...entries.flat()];
}

function text(characters: string): number[] {
  const bytes = Buffer.from(characters, 'utf8');
  return [...unsigned(bytes.length), ...bytes];
}

/** LEB128 (§5.2.2). */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
