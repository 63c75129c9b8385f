import type { Clock } from '@culvert/stream';
import type { Authenticator } from '../auth/authenticate.ts';
import { ContestedIdentities } from '../observe/contested-identities.ts';
import type { EventBus } from '../observe/event-bus.ts';
import { ConnectionAttempts } from './connection-attempts.ts';
import type { ControlDeps } from './control-channel.ts';

/** What the authentication of devices depends on, apart from their credentials. */
export interface LimitedAuthenticationOptions {
  readonly clock: Clock;
  readonly events: EventBus;
  /** Aborted when the hub stops; from then on, all devices are refused. */
  readonly draining: AbortSignal;
}

/**
 * Returns the `authenticate` function of control channels. It limits how often an authenticated identity may connect. Also reports identities whose
 * connections keep taking each other over.
 */
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
