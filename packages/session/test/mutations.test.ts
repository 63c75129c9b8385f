import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { MUTATIONS } from './mutations.fixture.ts';

const core = resolve(import.meta.dirname, '../src/core');

test('the text of every mutation occurs exactly once in its file, and its replacement differs', () => {
  const sources = new Map(readdirSync(core).map((file) => [file, readFileSync(join(core, file), 'utf8')]));
  const stale = MUTATIONS.filter(
    ({ file, text, replacement }) => sources.get(file)?.split(text).length !== 2 || text === replacement,
  );
  expect(stale.map(({ file, rule, text }) => `${file}: ${rule}: ${text}`)).toEqual([]);
});
