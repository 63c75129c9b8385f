import { CulvertError } from '@culvert/protocol';
import type { ControlChannel } from './control-channel.ts';

/** Callbacks of an attempt. Exactly one of them is called, once. */
export interface AttemptListener {
  onAttached(channel: ControlChannel): void;
  onFailed(error: CulvertError): void;
}

/** Starts an attempt. */
export type StartAttempt = (listener: AttemptListener) => Attempt;

/** An attempt to open a control channel. */
export class Attempt {
  readonly #cancel = new AbortController();
  #listener: AttemptListener | undefined;

  constructor(open: (signal: AbortSignal) => Promise<ControlChannel>, listener: AttemptListener) {
    this.#listener = listener;
    open(this.#cancel.signal).then(
      (channel) => {
        if (this.#listener === undefined) void channel.close();
        else this.#listener.onAttached(channel);
      },
      (error: unknown) => this.#listener?.onFailed(CulvertError.from(error)),
    );
  }

  /** Replaces the callbacks. */
  redirect(listener: AttemptListener): void {
    this.#listener = listener;
  }

  /** Cancels the attempt. No effect after it has succeeded or failed. */
  abort(): void {
    this.#listener = undefined;
    this.#cancel.abort(new CulvertError('aborted'));
  }
}
