import { describe, expect, it } from 'vitest';
import { CLOSE_CAUSES } from './close-cause.ts';
import { CAUSE_ERRORS, closeCauseFromError } from './close-table.ts';
import { ERRORS, type ErrorCode, errorFromClose } from './errors.ts';

const CODES = Object.keys(ERRORS) as ErrorCode[];

describe('the table of closes', () => {
  it('receives every close code as one error, whichever code it was sent for, and that error has the same close code or is stream_lost', () => {
    for (const code of CODES) {
      const { close } = ERRORS[code];
      const received = errorFromClose(close, '')?.code;
      expect(received, code).toBeDefined();
      if (received !== undefined && received !== 'stream_lost') expect(ERRORS[received].close, code).toBe(close);
    }
  });

  it('names for each cause an error that has the same cause, or one of a lost stream', () => {
    for (const [cause, error] of Object.entries(CAUSE_ERRORS)) {
      if (error === undefined || error === 'stream_lost') continue;
      expect(closeCauseFromError(error), cause).toBe(cause);
    }
    expect(Object.keys(CAUSE_ERRORS)).toEqual(Object.keys(CLOSE_CAUSES));
  });

  it('takes a close code that is in no row for a lost stream, and 1000 for none', () => {
    expect(errorFromClose(3_000, '')?.code).toBe('stream_lost');
    expect(errorFromClose(1000, '')).toBeUndefined();
  });
});
