import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ERRORS, type ErrorRow } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';

const page = readFileSync(join(resolve(import.meta.dirname, '..'), 'docs/protocol/08-errors.md'), 'utf8');

const hex = (value: number) => `0x${value.toString(16)}`;
const tableLine = (code: string, row: ErrorRow) =>
  `| \`${code}\` | ${row.text} | ${row.http} | ${row.azure[0]} ${row.azure[1]} | ${row.connack} | ${hex(row.mqtt5)} | ${row.amqp} | ${row.close} | ${row.exit} | ${row.retryable ? 'yes' : ''} |`;

describe('docs/protocol/08-errors.md', () => {
  it('has exactly the rows of the error table, in its order', () => {
    const written = page.split('\n').filter((line) => line.startsWith('| `'));
    expect(written).toEqual(Object.entries(ERRORS).map(([code, row]) => tableLine(code, row)));
  });
});
