import type { DeviceClientOptions, DeviceClientState } from '@culvert/device';
import { CulvertError, type ErrorCode } from '@culvert/protocol';
import type { ClientCertificate, OutboundOptions } from '@culvert/stream';
import type { AgentEvent } from './agent-events.ts';
import { StateReports } from './state-reports.ts';

/** How an agent reaches its hub, and as whom. */
export interface AgentAddress {
  /** The connection string of the device, or of a module of it. */
  readonly connectionString: string;
  /** For a connection string with `x509=true`. */
  readonly certificate?: ClientCertificate;
  /** How the hub and its gateway are reached. */
  readonly outbound?: OutboundOptions;
}

/** The part of `DeviceClient` an agent needs. */
export interface AgentClient {
  open(): Promise<void>;
  close(): Promise<void>;
}

/** Refusals for which a file with the key, certificate or CA may have been mended meanwhile. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unauthorized',
  'token_expired',
  'forbidden',
  'device_not_found',
  'device_disabled',
  'revoked',
  'untrusted',
]);

/** Makes a client. @throws CulvertError `argument_invalid` for a connection string that is none */
export type CreateClient = (text: string, options: DeviceClientOptions) => AgentClient;

export interface AgentConnectionOptions {
  readonly createClient: CreateClient;
  /** Options that every client of this agent gets, for any hub. */
  readonly common: Pick<DeviceClientOptions, 'onStream' | 'clock' | 'sshHostKeys' | 'halfCloseMs'>;
  /** Reads the files again after each refusal; undefined when there are none, or they cannot be read. Must not throw. */
  readonly readAgain?: (() => AgentAddress | undefined) | undefined;
  readonly onEvent: (event: AgentEvent) => void;
  readonly onAttached: () => void;
  /** This machine's proxy, CA or certificate cannot be used at all; no attempt follows. */
  readonly onFailed: (error: unknown) => void;
}

interface Link {
  readonly address: AgentAddress;
  readonly client: AgentClient;
  attached: boolean;
}

/**
 * An agent's connection to its hub, which can be replaced while it runs. The new one is made before the old one is closed, so that a
 * mistake in a file does not disconnect the person who is about to fix it; open streams have connections of their own and go on.
 */
export class AgentConnection {
  readonly #options: AgentConnectionOptions;
  readonly #reports: StateReports;
  #current: Link;
  /** Replaces the current client as soon as it is attached itself, or the current one no longer is. */
  #next: Link | undefined;
  /** The client before {@link replace}, kept until the new one is attached: used again when the new one cannot be used at all. */
  #fallback: AgentAddress | undefined;
  #closed = false;

  /** Connects to nothing yet. @throws CulvertError `argument_invalid` */
  constructor(address: AgentAddress, options: AgentConnectionOptions) {
    this.#options = options;
    this.#reports = new StateReports(options.onEvent);
    this.#current = this.#link(address);
  }

  /** Connects. To be called once. */
  open(): void {
    this.#open(this.#current);
  }

  /**
   * Uses this address from now on.
   * @returns whether it differs from the one before
   * @throws CulvertError `argument_invalid`, and then nothing has changed
   */
  replace(address: AgentAddress): boolean {
    if (this.#closed || sameAddress(address, (this.#next ?? this.#current).address)) return false;
    const link = this.#link(address);
    void this.#next?.client.close();
    this.#next = link;
    this.#fallback ??= this.#current.address;
    if (!this.#current.attached) this.#promote(link);
    this.#open(link);
    return true;
  }

  /** Disconnects; resolves when the connection is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#current.client.close(), this.#next?.client.close()]);
  }

  #link(address: AgentAddress): Link {
    const { outbound, certificate, connectionString } = address;
    const client = this.#options.createClient(connectionString, {
      ...this.#options.common,
      onFirstRefusal: 'retry',
      onStateChange: (state, error, retryInMs) => this.#stateChanged(link, state, error, retryInMs),
      ...(outbound === undefined ? {} : { outbound }),
      ...(certificate === undefined ? {} : { certificate }),
    });
    const link: Link = { address, client, attached: false };
    return link;
  }

  #open(link: Link): void {
    link.client.open().then(
      () => {
        if (link === this.#current || link === this.#next) this.#options.onAttached();
      },
      (error: unknown) => this.#unusable(link, error),
    );
  }

  /** After a key was replaced at the hub and written into the same file, the agent needs no signal. */
  #lookAgain(): void {
    const address = this.#options.readAgain?.();
    if (address === undefined) return;
    try {
      this.replace(address);
    } catch (error) {
      this.#reports.reloadFailed(CulvertError.from(error));
    }
  }

  #stateChanged(link: Link, state: DeviceClientState, error?: CulvertError, retryInMs?: number): void {
    link.attached = state === 'attached';
    if (link === this.#next && link.attached) this.#promote(link);
    // The newer connection of the same identity may have taken over from it, or the hub no longer knows its key.
    else if (link === this.#current && !link.attached && this.#next !== undefined) this.#promote(this.#next);
    if (link === this.#current) {
      if (link.attached) this.#fallback = undefined;
      this.#reports.told(state, error, retryInMs);
    } else if (link === this.#next && error !== undefined) {
      this.#reports.reloadWaits(error);
    } else return;
    if (state === 'waiting' && error !== undefined && REFUSALS.has(error.code)) this.#lookAgain();
  }

  #promote(link: Link): void {
    const before = this.#current;
    this.#current = link;
    this.#next = undefined;
    void before.client.close();
  }

  #unusable(link: Link, error: unknown): void {
    if (this.#closed || (link !== this.#current && link !== this.#next)) return;
    const fallback = this.#fallback;
    this.#fallback = undefined;
    if (fallback === undefined) {
      this.#options.onFailed(error);
      return;
    }
    this.#reports.reloadFailed(CulvertError.from(error));
    if (link === this.#next) {
      this.#next = undefined;
      return;
    }
    this.#current = this.#link(fallback);
    this.#open(this.#current);
  }
}

/** Whether both name the same hub, credential and outbound options. */
function sameAddress(one: AgentAddress, other: AgentAddress): boolean {
  const parts = ({ connectionString, certificate, outbound }: AgentAddress): unknown[] => [
    connectionString,
    certificate?.cert,
    certificate?.key,
    outbound?.ca,
    outbound?.proxy,
    outbound?.gateways?.join(' '),
  ];
  const others = parts(other);
  return parts(one).every((part, index) => part === others[index]);
}
