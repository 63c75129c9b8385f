import type { SessionEnd } from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';

/** What happened to a session, for logs. `caller`: the service side's name at the hub; empty if the hub did not send it. */
export type SessionEvent =
  | {
      readonly type: 'session-linked';
      readonly sessionId: string;
      /** The stream that is the link; undefined if the hub did not send its id. */
      readonly streamId: string | undefined;
      readonly caller: string;
      /** False when the session goes on over a further link. */
      readonly isFirst: boolean;
    }
  | {
      readonly type: 'session-link-lost';
      readonly sessionId: string;
      readonly caller: string;
      /** Those that are open, and wait for the next link. */
      readonly connections: number;
    }
  | {
      readonly type: 'session-ended';
      readonly sessionId: string;
      readonly caller: string;
      readonly reason: SessionEnd['reason'];
      readonly text: string;
      /** Connections of which the hub was not told, because there were too many for its reports. */
      readonly unreported: number;
    }
  | { readonly type: 'session-link-refused'; readonly caller: string; readonly text: string }
  /** A raw stream or an unencrypted session was refused, because this device accepts encrypted sessions only. */
  | { readonly type: 'unencrypted-refused'; readonly caller: string; readonly text: string }
  /** The device has no key, so nothing is encrypted end to end. Comes once, when the client is opened first. */
  | { readonly type: 'no-session-key' }
  /** The device's key is in use. Comes once, when the client is opened first. */
  | { readonly type: 'session-key'; readonly fingerprint: Fingerprint };
