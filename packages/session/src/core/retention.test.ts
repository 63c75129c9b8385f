import { expect, it } from 'vitest';
import { inWords } from './retention.ts';

it.each([
  [1, '1 second'],
  [90, '90 seconds'],
  [120, '2 minutes'],
  [900, '15 minutes'],
  [7_200, '2 hours'],
  [604_800, '7 days'],
])('says %d seconds as a person would', (seconds, words) => {
  expect(inWords(seconds)).toBe(words);
});
