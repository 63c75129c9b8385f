import { Budget } from './core/budget.ts';
import { SessionConnection } from './core/connection.ts';
import { ReceiveWindows } from './core/receive-windows.ts';

const NOTHING = (): void => undefined;

/** A connection without a session, which tells what it is asked for. */
export class RecordingConnection extends SessionConnection {
  readonly #told: { readonly call: (text: string) => void; readonly consumed: (bytes: number) => void };
  readonly #takes: boolean;

  /** @param takes what `write` returns */
  constructor(
    told: { readonly call?: (text: string) => void; readonly consumed: (bytes: number) => void },
    takes = true,
  ) {
    const owner = {
      ...{ wantsToSend: NOTHING, owesLimit: NOTHING, accept: NOTHING, abort: NOTHING, refuse: NOTHING },
      ...{ roundTripMs: undefined, now: 0 },
    };
    const events = { data: NOTHING, ended: NOTHING, drained: NOTHING, aborted: NOTHING };
    super(owner, 1, 'echo', new ReceiveWindows(new Budget(0)).open(), events);
    this.#told = { call: NOTHING, ...told };
    this.#takes = takes;
  }

  override write(): boolean {
    return this.#takes;
  }

  override end(): void {
    this.#told.call('end');
  }

  override abort(reason = 'reset'): void {
    this.#told.call(`abort ${reason}`);
  }

  override consumed(bytes: number): void {
    this.#told.consumed(bytes);
  }
}
