import { CulvertError } from '@culvert/protocol';
import { ConnectionDuplex } from '@culvert/session';
import { abortReason, type Clock } from '@culvert/stream';
import type { OpenStreamOptions } from '../stream-request.ts';
import type { DeviceSession } from './device-session.ts';

const DEFAULT_CONNECT_MS = 5_000;
const DEFAULT_RESPONSE_MS = 30_000;

/**
 * Opens a connection in a session. Resolves when the device has answered, or with `early` at once. Undefined if the session takes no more connections.
 * @throws CulvertError `rejected`; `device_silent`; the error of the last link that could not be opened, such as `device_offline`, if the session has none
 *   for `connectTimeoutMs`; `key_refused`; the signal's reason
 */
export function openConnection(
  session: DeviceSession,
  options: OpenStreamOptions,
  clock: Clock,
): Promise<ConnectionDuplex | undefined> {
  return new Promise((resolve, reject) => {
    const { signal, early = false } = options;
    const duplex: ConnectionDuplex = new ConnectionDuplex({
      answered: (error) => {
        wait.end();
        signal?.removeEventListener('abort', abort);
        if (error !== undefined) reject(error);
        else if (!early) hand();
      },
    });
    // The program can listen itself as soon as its code runs.
    const hand = (): void => {
      resolve(duplex);
      setImmediate(() => duplex.off('error', ignore));
    };
    const abort = (): void => void duplex.destroy(abortReason(signal as AbortSignal));
    const wait = new LinkWait(session, duplex, options, clock);
    duplex.on('error', ignore);
    if (!session.open(options.name, duplex)) {
      resolve(undefined);
      return;
    }
    signal?.addEventListener('abort', abort);
    if (early) hand();
    wait.start();
  });
}

/** Gives up a connection that the device does not answer, or for which there is no link. */
class LinkWait {
  readonly #session: DeviceSession;
  readonly #duplex: ConnectionDuplex;
  readonly #clock: Clock;
  readonly #connectMs: number;
  readonly #responseMs: number;
  #timer: { cancel(): void } | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(
    session: DeviceSession,
    duplex: ConnectionDuplex,
    { connectTimeoutMs, responseTimeoutMs }: OpenStreamOptions,
    clock: Clock,
  ) {
    this.#session = session;
    this.#duplex = duplex;
    this.#clock = clock;
    this.#connectMs = connectTimeoutMs ?? DEFAULT_CONNECT_MS;
    this.#responseMs = responseTimeoutMs ?? DEFAULT_RESPONSE_MS;
  }

  start(): void {
    if (this.#connectMs > 0) this.#timer = this.#clock.setTimer(this.#connectMs, () => this.#connectTimeOver());
    else this.#connectTimeOver();
  }

  end(): void {
    this.#timer?.cancel();
    this.#unsubscribe?.();
  }

  /** From now on the error of an attempt to open a link is the answer, as it is for a stream of its own. */
  #connectTimeOver(): void {
    this.#timer = this.#clock.setTimer(this.#responseMs, () =>
      this.#duplex.destroy(
        this.#session.dialError ?? new CulvertError('device_silent', 'The device did not answer in time.'),
      ),
    );
    const check = (): void => {
      const { dialError } = this.#session;
      // The device may be connecting to the service already if it has been asked.
      if (dialError !== undefined && !this.#duplex.isAsked) this.#duplex.destroy(dialError);
    };
    this.#unsubscribe = this.#session.onDialFailed(check);
    check();
  }
}

const ignore = (): void => undefined;
