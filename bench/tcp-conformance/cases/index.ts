import type { ConformanceCase } from './conformance-case.ts';
import { HALF_CLOSE } from './half-close.ts';
import { IDLE } from './idle.ts';
import { LAST_BYTES } from './last-bytes.ts';
import { MANY } from './many.ts';
import { RESET } from './reset.ts';
import { SLOW } from './slow.ts';

/** Every case, in the order of the table. A new one is a row in its file. */
export const CASES: readonly ConformanceCase[] = [...HALF_CLOSE, ...LAST_BYTES, ...RESET, ...SLOW, ...MANY, ...IDLE];
