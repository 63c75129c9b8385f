import { expect } from 'vitest';
import type { Program } from './program.ts';

/** What a command prints when the link of a session is lost, and when it is back. */
interface LinkLines {
  readonly lost: RegExp;
  readonly back: RegExp;
}

/** The lines of `culvert connect` (also within `culvert ssh`) and of `culvert agent`. */
export const LINK_LINES: Readonly<Record<'connect' | 'agent', LinkLines>> = {
  connect: {
    lost: /the link to \S+ is lost; \d+ connections? waits? for it$/gm,
    back: /the link to \S+ is back after [\d.]+ s; connections go on$/gm,
  },
  agent: {
    lost: /the link to \S+ is lost; \d+ connections? waits? for it$/gm,
    back: /the link to \S+ is back; its connections go on$/gm,
  },
};

/** Expects a command to have told its user `times` that a link was lost and as often that it is back, in this order, and of no failure. */
export function expectTold(program: Program, { lost, back }: LinkLines, times = 1): void {
  const { stderr } = program;
  const count = (pattern: RegExp) => stderr.match(pattern)?.length ?? 0;
  expect({ lost: count(lost), back: count(back) }, stderr).toEqual({ lost: times, back: times });
  expect(stderr.search(lost), stderr).toBeLessThan(stderr.search(back));
  expect(stderr).not.toMatch(/failed|is over/);
}
