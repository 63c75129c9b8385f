import { CulvertError } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { agentSentence, connectSentence, sessionSentence } from './stream-messages.ts';

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

describe('sessionSentence', () => {
  it('does not let a device that ends a session control the terminal', () => {
    const event = { type: 'session-ended', deviceId: 'press-7', sessionId: '0'.repeat(32), unreported: 0 } as const;
    const sentence = sessionSentence({ ...event, reason: 'draining', text: 'gone\u001b]0;title\u0007\nsecond line.' });
    expect(sentence).toBe('the session with press-7 is over: gone\\u001b]0;title\\u0007\\u000asecond line');
  });
});
