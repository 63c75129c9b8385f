import { test } from 'vitest';
import { linger } from './linger.ts';

test('it passes, and forgets a program', () => linger());
