import { patternAt } from './pattern.ts';

/** What the web server of the bench sends: about a small page. */
export const PAGE: Buffer = Buffer.from(patternAt(0, 4_096));
