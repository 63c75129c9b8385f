import { assembleModule, type Instruction } from './wasm-assembler.ts';

/** The function's parameters and locals, by index. */
const FROM = 0;
const TO = 1;
const LENGTH = 2;
const KEY = 3;
const STOP = 4;
const KEYS = 5;

/**
 * A WebAssembly module whose `unmask(from, to, length, key)` moves bytes within a memory and unmasks them (RFC 6455 §5.3)
 * on the way: 64 at a time, then 16, 4, 1. All but the last step are multiples of four bytes, so the key need not be rotated.
 * `to` may be equal to or lower than `from`.
 */
export function unmaskModule(pages: number): Uint8Array {
  return assembleModule(
    {
      name: 'unmask',
      parameters: ['i32', 'i32', 'i32', 'i32'],
      locals: ['i32', 'v128'],
      body: [
        ['local.get', KEY],
        ['i32.eqz'],
        ['if'],
        ['local.get', TO],
        ['local.get', FROM],
        ['local.get', LENGTH],
        ['memory.copy'],
        ['return'],
        ['end'],
        ['local.get', KEY],
        ['i32x4.splat'],
        ['local.set', KEYS],
        ...repeat(64, -64, [...vectorAt(0), ...vectorAt(16), ...vectorAt(32), ...vectorAt(48)]),
        ...repeat(16, 48, vectorAt(0)),
        ...repeat(4, 12, move('i32.load', 'i32.xor', 'i32.store', KEY, 0)),
        ...repeat(1, 3, [
          ...move('i32.load8_u', 'i32.xor', 'i32.store8', KEY, 0),
          ['local.get', KEY],
          ['i32.const', 8],
          ['i32.shr_u'],
          ['local.set', KEY],
        ]),
      ],
    },
    pages,
  );
}

/** Emits a loop that runs `step` for every `bytes` of the length masked by `mask`. */
function repeat(bytes: number, mask: number, step: readonly Instruction[]): Instruction[] {
  return [
    ['local.get', FROM],
    ['local.get', LENGTH],
    ['i32.const', mask],
    ['i32.and'],
    ['i32.add'],
    ['local.set', STOP],
    ['block'],
    ['loop'],
    ['local.get', FROM],
    ['local.get', STOP],
    ['i32.eq'],
    ['br_if', 1],
    ...step,
    ...advance(FROM, bytes),
    ...advance(TO, bytes),
    ['br', 0],
    ['end'],
    ['end'],
  ];
}

function advance(local: number, bytes: number): Instruction[] {
  return [['local.get', local], ['i32.const', bytes], ['i32.add'], ['local.set', local]];
}

function vectorAt(offset: number): Instruction[] {
  return move('v128.load', 'v128.xor', 'v128.store', KEYS, offset);
}

function move(
  load: 'v128.load' | 'i32.load' | 'i32.load8_u',
  xor: 'v128.xor' | 'i32.xor',
  store: 'v128.store' | 'i32.store' | 'i32.store8',
  key: number,
  offset: number,
): Instruction[] {
  return [['local.get', TO], ['local.get', FROM], [load, offset], ['local.get', key], [xor], [store, offset]];
}
