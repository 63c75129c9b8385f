import { patternAt } from './pattern.ts';

/** The page that the web servers of the bench send: about the size of a small page. */
export const PAGE: Buffer = Buffer.from(patternAt(0, 4_096));
