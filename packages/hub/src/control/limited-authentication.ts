import type { Clock } from '@culvert/stream';
import type { Authenticator } from '../auth/authenticate.ts';
import { ContestedIdentities } from '../observe/contested-identities.ts';
import type { EventBus } from '../observe/event-bus.ts';
import { ConnectionAttempts } from './connection-attempts.ts';
import type { ControlDeps } from './control-channel.ts';

/** What letting devices in depends on, beside who they are. */
export interface LimitedAuthenticationOptions {
  readonly clock: Clock;
  readonly events: EventBus;
  /** Aborted when the hub stops: nobody is let in any more. */
  readonly draining: AbortSignal;
}

/** How control channels authenticate: those that have proved themselves are let in only so often, and who evicts each other is told. */
export function limitedAuthentication(
  { clock, events, draining }: LimitedAuthenticationOptions,
  authenticator: Pick<Authenticator, 'authenticateDevice'>,
): ControlDeps['authenticate'] {
  const common = { clock, onEvent: events.emit };
  events.subscribe(new ContestedIdentities(common).observe);
  const attempts = new ConnectionAttempts(common);
  return async (credential) => {
    if (draining.aborted) throw draining.reason;
    const principal = await authenticator.authenticateDevice(credential);
    attempts.admit(credential.identity);
    return principal;
  };
}
