import { CulvertError } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { agentSentence, connectSentence } from './stream-messages.ts';

describe('agentSentence', () => {
  it.each([
    [
      'unreachable',
      'h:443 could not be reached.',
      'not attached: h:443 could not be reached; trying again in 2 s, and for as long as it takes',
    ],
    ['draining', undefined, 'not attached: The hub is shutting down; trying again in 2 s, and for as long as it takes'],
  ] as const)('tells of %s without stumbling over its full stop', (code, message, sentence) => {
    const error = new CulvertError(code, message);
    expect(agentSentence({ type: 'state', state: 'waiting', error, retryInMs: 1_500 })).toBe(sentence);
  });
});

describe('connectSentence', () => {
  it('says what to do', () => {
    const error = new CulvertError('device_offline');
    expect(connectSentence({ type: 'stream-failed', id: 1, service: 'web', error })).toBe(
      "[1] web failed: The requested device isn't online. Is its agent running?",
    );
  });
});
