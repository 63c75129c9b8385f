import type { Identity } from '@culvert/protocol';
import type { SessionEnd } from '@culvert/session';
import type { Fingerprint } from '@culvert/session/keys';

/** What happened to a session, for messages and logs. */
export type ServiceSessionEvent = Identity &
  (
    | OwnSessionEvent
    /** A raw stream or a session without end-to-end encryption begins; `text` says so in one line. `sessionId` is absent for a raw stream. */
    | { readonly type: 'unencrypted'; readonly sessionId?: string; readonly text: string }
  );

type OwnSessionEvent = {
  /** The session's id in the hub's logs and live view. */
  readonly sessionId: string;
} & (
  | { readonly type: 'session-link-lost'; readonly connections: number }
  | { readonly type: 'session-link-regained'; readonly lostForMs: number }
  | {
      readonly type: 'session-ended';
      readonly reason: SessionEnd['reason'];
      readonly text: string;
      /** Connections of which the hub was not told, because there were too many for its reports. */
      readonly unreported: number;
    }
  /** A link was dropped because it does not fit its session, or its key could not be checked; the session asks for another. */
  | { readonly type: 'session-link-refused'; readonly text: string }
  /** The device showed its key for the first time, and it was pinned. */
  | { readonly type: 'device-key-pinned'; readonly fingerprint: Fingerprint }
);
