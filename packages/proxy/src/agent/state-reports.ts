import type { DeviceClientState } from '@culvert/device';
import type { CulvertError } from '@culvert/protocol';
import type { AgentEvent } from './agent-events.ts';

/**
 * Reports the state of the connection to the hub: the reason for a loss, once per change of the reason and not once per attempt; and once when the
 * connection is re-established. Otherwise an agent whose hub is down for a month could fill the disk with identical log entries.
 */
export class StateReports {
  readonly #onEvent: (event: AgentEvent) => void;
  /** The last reported reason; undefined while attached, and before the first loss. */
  #reason: string | undefined;
  /** The last reported reason for which a new connection is not established yet. */
  #reloadReason: string | undefined;

  constructor(onEvent: (event: AgentEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Reports a change of the client's state. */
  stateChanged(state: DeviceClientState, error: CulvertError | undefined, retryInMs: number | undefined): void {
    const reason = error === undefined ? undefined : reasonOf(error);
    // A new attempt begins after a failure whose reason has already been reported.
    if (state === 'connecting' && this.#reason !== undefined) return;
    if (reason !== undefined && reason === this.#reason) return;
    this.#reason = state === 'attached' ? undefined : (reason ?? this.#reason);
    if (state === 'attached') this.#reloadReason = undefined;
    const wait = retryInMs === undefined ? {} : { retryInMs };
    this.#onEvent({ type: 'state', state, error, ...wait });
  }

  /** Reports that the new connection is not established yet. */
  reloadWaits(error: CulvertError): void {
    if (reasonOf(error) === this.#reloadReason) return;
    this.#reloadReason = reasonOf(error);
    this.#onEvent({ type: 'reload-waits', error });
  }

  /** Reports that the new connection cannot be used. */
  reloadFailed(error: CulvertError): void {
    if (reasonOf(error) === this.#reloadReason) return;
    this.#reloadReason = reasonOf(error);
    this.#onEvent({ type: 'reload-failed', error });
  }
}

/** A key for comparing reasons: code and message, with all numbers replaced, because times, ports and counts differ between attempts. */
function reasonOf({ code, message }: CulvertError): string {
  return `${code} ${message.replace(/\d+/g, '0')}`;
}
