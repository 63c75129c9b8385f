import {
  type DeviceClientOptions,
  type DeviceClientState,
  SessionServer,
  type SessionServerOptions,
} from '@culvert/device';
import { CulvertError, type ErrorCode, type Identity, parseDeviceConnectionString } from '@culvert/protocol';
import type { ClientCertificate, OutboundOptions } from '@culvert/stream';
import type { AgentEvent } from './agent-events.ts';
import { StateReports } from './state-reports.ts';

/** The identity of an agent, and how it connects to its hub. */
export interface AgentAddress {
  /** The connection string of the device, or of a module of it. */
  readonly connectionString: string;
  /** The device's certificate, for a connection string with `x509=true`. */
  readonly certificate?: ClientCertificate;
  /** Proxy, CA and gateways for the connections to the hub and its gateways. */
  readonly outbound?: OutboundOptions;
}

/** The part of `DeviceClient` that an agent uses. */
export interface AgentClient {
  open(): Promise<void>;
  close(): Promise<void>;
}

/** Refusals after which the files are read again, because a file with the key, certificate or CA may have been corrected meanwhile. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'unauthorized',
  'token_expired',
  'forbidden',
  'device_not_found',
  'device_disabled',
  'revoked',
  'untrusted',
]);

/** Creates a client. @throws CulvertError `argument_invalid` for an invalid connection string */
export type CreateClient = (text: string, options: DeviceClientOptions) => AgentClient;

export interface AgentConnectionOptions {
  readonly createClient: CreateClient;
  /** Options of every client of this agent. */
  readonly common: Pick<DeviceClientOptions, 'onStream' | 'clock' | 'sshHostKeys' | 'halfCloseMs'>;
  /** How sessions are served. */
  readonly session: SessionServerOptions;
  /** Reads the files again after a refusal; returns undefined if there are none or they cannot be read. Must not throw. */
  readonly readAgain?: (() => AgentAddress | undefined) | undefined;
  readonly onEvent: (event: AgentEvent) => void;
  readonly onAttached: () => void;
  /** Called if this machine's proxy, CA or certificate cannot be used at all; no further attempt is made. */
  readonly onFailed: (error: unknown) => void;
}

/** A client and the address that it was created for. */
interface ClientEntry {
  readonly address: AgentAddress;
  readonly client: AgentClient;
  attached: boolean;
}

/**
 * An agent's connection to its hub, which can be replaced while the agent runs. The new connection is opened before the old one is closed, so
 * that a mistake in a file does not disconnect a user who fixes it through this agent. Open streams have connections of their own and continue, and so
 * do sessions: all clients of one device or module share the server of its sessions.
 */
export class AgentConnection {
  readonly #options: AgentConnectionOptions;
  readonly #reports: StateReports;
  #current: ClientEntry;
  /** The new client. It replaces the current one when the new client is attached or when the current one is no longer attached. */
  #next: ClientEntry | undefined;
  /** The address before {@link replace}, kept until the new client is attached. It is used again if the new address cannot be used at all. */
  #fallback: AgentAddress | undefined;
  #closed = false;
  /** The servers of sessions, by device and module. All but the last one serve what is left of an identity that the agent had before. */
  #sessions: SessionServer[] = [];

  /** Does not connect before {@link open} is called. @throws CulvertError `argument_invalid` for an invalid connection string */
  constructor(address: AgentAddress, options: AgentConnectionOptions) {
    this.#options = options;
    this.#reports = new StateReports(options.onEvent);
    this.#current = this.#createEntry(address);
  }

  /** Connects. Must be called once. */
  open(): void {
    this.#open(this.#current);
  }

  /**
   * Connects with this address from now on.
   * @returns whether the address differs from the previous one
   * @throws CulvertError `argument_invalid` for an invalid connection string; nothing is changed then
   */
  replace(address: AgentAddress): boolean {
    if (this.#closed || sameAddress(address, (this.#next ?? this.#current).address)) return false;
    const entry = this.#createEntry(address);
    void this.#next?.client.close();
    this.#next = entry;
    this.#fallback ??= this.#current.address;
    if (!this.#current.attached) this.#promote(entry);
    this.#open(entry);
    return true;
  }

  /** Disconnects, and refuses new connections in sessions; resolves when the connection is closed. Open streams and connections continue. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const server of this.#sessions) server.drain();
    await Promise.all([this.#current.client.close(), this.#next?.client.close()]);
  }

  /** Resolves when all sessions that have a link are over, or after `ms` milliseconds. Call {@link close} before. */
  async sessionsDrained(ms: number): Promise<void> {
    await Promise.all(this.#sessions.map((server) => server.drained(ms)));
  }

  /** Ends all sessions with a reason; resolves when the service sides were told, after at most a second. */
  async endSessions(text: string): Promise<void> {
    await Promise.all(this.#sessions.map((server) => server.close(text)));
  }

  /** The server of an identity's sessions. @throws CulvertError `argument_invalid` for an invalid connection string */
  #sessionServer(connectionString: string): SessionServer {
    const identity = parseDeviceConnectionString(connectionString);
    const known = this.#sessions.find((server) => isOf(server, identity));
    if (known !== undefined) {
      known.reopen();
      return known;
    }
    const { common, session } = this.#options;
    const { clock, onStream } = common;
    const server = new SessionServer(identity, { ...session, onStream, ...(clock === undefined ? {} : { clock }) });
    this.#sessions.push(server);
    return server;
  }

  /** Lets the sessions of former identities end when their last connections are over. */
  #drainFormerSessions(): void {
    const identities = [this.#current, ...(this.#next === undefined ? [] : [this.#next])].map(({ address }) =>
      parseDeviceConnectionString(address.connectionString),
    );
    this.#sessions = this.#sessions.filter((server) => {
      if (identities.some((identity) => isOf(server, identity))) return true;
      server.drain();
      return server.size > 0;
    });
  }

  #createEntry(address: AgentAddress): ClientEntry {
    const { outbound, certificate, connectionString } = address;
    const client = this.#options.createClient(connectionString, {
      ...this.#options.common,
      session: this.#sessionServer(connectionString),
      onFirstRefusal: 'retry',
      onStateChange: (state, error, retryInMs) => this.#stateChanged(entry, state, error, retryInMs),
      ...(outbound === undefined ? {} : { outbound }),
      ...(certificate === undefined ? {} : { certificate }),
    });
    const entry: ClientEntry = { address, client, attached: false };
    return entry;
  }

  #open(entry: ClientEntry): void {
    entry.client.open().then(
      () => {
        if (entry === this.#current || entry === this.#next) this.#options.onAttached();
      },
      (error: unknown) => this.#openFailed(entry, error),
    );
  }

  /** Reads the files again and uses a changed address, so that a key that was replaced at the hub and in its file takes effect without a signal. */
  #readFilesAgain(): void {
    const address = this.#options.readAgain?.();
    if (address === undefined) return;
    try {
      this.replace(address);
    } catch (error) {
      this.#reports.reloadFailed(CulvertError.from(error));
    }
  }

  #stateChanged(entry: ClientEntry, state: DeviceClientState, error?: CulvertError, retryInMs?: number): void {
    entry.attached = state === 'attached';
    if (entry === this.#next && entry.attached) this.#promote(entry);
    // The new connection may have taken over from the current one, or the hub no longer accepts the old key.
    else if (entry === this.#current && !entry.attached && this.#next !== undefined) this.#promote(this.#next);
    if (entry === this.#current) {
      if (entry.attached) this.#fallback = undefined;
      this.#reports.stateChanged(state, error, retryInMs);
    } else if (entry === this.#next && error !== undefined) {
      this.#reports.reloadWaits(error);
    } else return;
    if (state === 'waiting' && error !== undefined && REFUSALS.has(error.code)) this.#readFilesAgain();
  }

  #promote(entry: ClientEntry): void {
    const before = this.#current;
    this.#current = entry;
    this.#next = undefined;
    void before.client.close();
    this.#drainFormerSessions();
  }

  #openFailed(entry: ClientEntry, error: unknown): void {
    if (this.#closed || (entry !== this.#current && entry !== this.#next)) return;
    const fallback = this.#fallback;
    this.#fallback = undefined;
    if (fallback === undefined) {
      this.#options.onFailed(error);
      return;
    }
    this.#reports.reloadFailed(CulvertError.from(error));
    if (entry === this.#next) {
      this.#next = undefined;
      return;
    }
    this.#current = this.#createEntry(fallback);
    this.#open(this.#current);
  }
}

function isOf(server: SessionServer, { deviceId, moduleId }: Identity): boolean {
  return server.deviceId === deviceId && server.moduleId === moduleId;
}

/** Whether both addresses contain the same connection string, certificate and outbound options. */
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
