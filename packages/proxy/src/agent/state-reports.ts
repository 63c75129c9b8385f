import type { DeviceClientState } from '@culvert/device';
import type { CulvertError } from '@culvert/protocol';
import type { AgentEvent } from './agent-events.ts';

/**
 * Reports the state of the connection to the hub: why it is lost (once per change of reason, not once per attempt), and once when it is
 * back. An agent without its hub for a month would otherwise fill a disk with one sentence.
 */
export class StateReports {
  readonly #onEvent: (event: AgentEvent) => void;
  /** The reason that was reported last; undefined while there is none. */
  #reason: string | undefined;
  /** The same for a new connection that is not established yet. */
  #reloadReason: string | undefined;

  constructor(onEvent: (event: AgentEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** The client's state changed. */
  told(state: DeviceClientState, error: CulvertError | undefined, retryInMs: number | undefined): void {
    const reason = error === undefined ? undefined : reasonOf(error);
    // Between two attempts the reason is one that was already reported.
    if (state === 'connecting' && this.#reason !== undefined) return;
    if (reason !== undefined && reason === this.#reason) return;
    this.#reason = state === 'attached' ? undefined : (reason ?? this.#reason);
    if (state === 'attached') this.#reloadReason = undefined;
    const wait = retryInMs === undefined ? {} : { retryInMs };
    this.#onEvent({ type: 'state', state, error, ...wait });
  }

  /** The new connection is not there yet. */
  reloadWaits(error: CulvertError): void {
    if (reasonOf(error) === this.#reloadReason) return;
    this.#reloadReason = reasonOf(error);
    this.#onEvent({ type: 'reload-waits', error });
  }

  /** The new connection cannot be used. */
  reloadFailed(error: CulvertError): void {
    if (reasonOf(error) === this.#reloadReason) return;
    this.#reloadReason = reasonOf(error);
    this.#onEvent({ type: 'reload-failed', error });
  }
}

/** Identifies a reason: its text without times, ports and counts, which differ between attempts. */
function reasonOf({ code, message }: CulvertError): string {
  return `${code} ${message.replace(/\d+/g, '0')}`;
}
