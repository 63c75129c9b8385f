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
   * Starts a hub. When it resolves, the hub takes devices and requests.
   * @throws CulvertError `config_invalid`, one line that says what to do; nothing is left running then
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

  /** The name and port that connection strings and grants carry. */
  get hostName(): string {
    return this.#parts.names.authority;
  }

  /** Where the main port listens. */
  get address(): Listening {
    return this.#parts.listeners.address;
  }

  /** Where MQTT over TLS listens, if it does. */
  get mqttAddress(): Listening | undefined {
    return this.#parts.listeners.controlAddresses.get('mqttListen');
  }

  /** Where AMQP over TLS listens, if it does. */
  get amqpAddress(): Listening | undefined {
    return this.#parts.listeners.controlAddresses.get('amqpListen');
  }

  /** Where `/livez` and `/readyz` listen. */
  get adminAddress(): Listening {
    return this.#parts.listeners.adminAddress;
  }

  /** The file clients are to trust; undefined when the operator brought a certificate. */
  get caFile(): string | undefined {
    return this.#parts.certificates.caFile;
  }

  /** One sentence to show when clients must be given a new `ca.pem`. */
  get certificateNotice(): string | undefined {
    return this.#parts.certificates.notice;
  }

  /** Established streams. */
  get streams(): number {
    return this.#parts.streaming.gateway.streams;
  }

  /** Resolves if the hub can no longer work, with the reason. */
  get failed(): Promise<CulvertError> {
    return this.#parts.store.failed;
  }

  /** Resolves when every event so far is in the audit log on disk. */
  settled(): Promise<void> {
    return this.#parts.audit.settled();
  }

  /** Looks for a new certificate now (SIGHUP). */
  reload(): Promise<void> {
    return this.#parts.certificates.source.reload();
  }

  /**
   * Stops, in the reverse order of the start. Idempotent; a second call with 0 cuts the grace of the first short.
   * @param graceMs how long running streams may take to end by themselves; default the configuration's `drainMs`
   */
  stop(graceMs: number = this.#parts.drainMs): Promise<void> {
    if (this.#stopping !== undefined && graceMs === 0) this.#parts.streaming.gateway.destroy();
    this.#stopping ??= stopHub(this.#parts, graceMs);
    return this.#stopping;
  }
}
