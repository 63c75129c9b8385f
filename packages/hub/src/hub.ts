import type { CulvertError } from '@culvert/protocol';
import type { HubConfig } from './config/config.ts';
import { startupError } from './config/startup-error.ts';
import type { HubOptions, HubParts, OpenedParts } from './hub-parts.ts';
import type { Listening } from './listeners/listen.ts';
import { startHub } from './start-hub.ts';
import { stopHub } from './stop-hub.ts';

export type { HubOptions };

/** A running hub with its gateway, in this process. */
export class Hub {
  readonly #parts: HubParts;
  #stopping: Promise<void> | undefined;

  private constructor(parts: HubParts) {
    this.#parts = parts;
  }

  /**
   * Starts a hub. When it resolves, the hub accepts devices and requests.
   * @throws CulvertError `config_invalid`, with one line that names the remedy; all parts have been closed then
   */
  static async start(config: HubConfig, options: HubOptions = {}): Promise<Hub> {
    const opened: OpenedParts = {};
    try {
      return new Hub(await startHub(config, options, opened));
    } catch (error) {
      await stopHub(opened, 0);
      throw startupError(error, config.dataDir);
    }
  }

  /** The hub's main name and port, as in connection strings; without the port if that is 443. */
  get hostName(): string {
    return this.#parts.names.authority;
  }

  /** The address that the main port is bound to. */
  get address(): Listening {
    return this.#parts.listeners.address;
  }

  /** The address of the listener for MQTT over TLS; undefined when there is none. */
  get mqttAddress(): Listening | undefined {
    return this.#parts.listeners.controlAddresses.get('mqttListen');
  }

  /** The address of the listener for AMQP over TLS; undefined when there is none. */
  get amqpAddress(): Listening | undefined {
    return this.#parts.listeners.controlAddresses.get('amqpListen');
  }

  /** The address of the listener for `/livez`, `/readyz` and `/metrics`. */
  get adminAddress(): Listening {
    return this.#parts.listeners.adminAddress;
  }

  /** The file with the authorities that clients must trust; undefined with an operator's certificate. */
  get caFile(): string | undefined {
    return this.#parts.certificates.caFile;
  }

  /** One sentence to show when clients must be given a new `ca.pem`. */
  get certificateNotice(): string | undefined {
    return this.#parts.certificates.notice;
  }

  /** Number of established streams. */
  get streams(): number {
    return this.#parts.streaming.gateway.streams;
  }

  /** Resolves with the reason when the hub can no longer work. */
  get failed(): Promise<CulvertError> {
    return this.#parts.store.failed;
  }

  /** Resolves when all events so far are in the audit log on disk. */
  settled(): Promise<void> {
    return this.#parts.audit.settled();
  }

  /** Checks for a new certificate now (SIGHUP). */
  reload(): Promise<void> {
    return this.#parts.certificates.source.reload();
  }

  /**
   * Stops the hub's parts in the reverse order of their start. Idempotent; a second call with 0 ends the grace period of the first call at once.
   * @param graceMs milliseconds that running streams have to end on their own; default: `drainMs` of the configuration
   */
  stop(graceMs: number = this.#parts.drainMs): Promise<void> {
    if (this.#stopping !== undefined && graceMs === 0) this.#parts.streaming.gateway.destroy();
    this.#stopping ??= stopHub(this.#parts, graceMs);
    return this.#stopping;
  }
}
