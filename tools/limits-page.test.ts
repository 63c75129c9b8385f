import { readFileSync } from 'node:fs';
import { LIMITS } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { parseHubConfig } from '../packages/hub/src/config/config.ts';
import { AMQP_LIMITS } from '../packages/hub/src/control/amqp-validator/amqp-limits.ts';
import { limitsPage, PAGE } from './limits-page.ts';

describe('docs/limits.md', () => {
  const page = readFileSync(PAGE, 'utf8');

  it('is what the code says; if not: node tools/limits-page.ts --write', () => {
    expect(page).toBe(limitsPage());
  });

  it('has every limit of the wire, of AMQP and of the configuration', () => {
    const names = [...Object.keys(LIMITS), ...Object.keys(AMQP_LIMITS)];
    const keys = Object.keys(parseHubConfig({ dataDir: '/d' }).limits).map((key) => `limits.${key}`);
    expect([...names, ...keys].filter((name) => !page.includes(`| \`${name}\` |`))).toEqual([]);
  });
});
