import { CulvertError, parseDeviceConnectionString } from '@culvert/protocol';
import type { AgentAddress, AgentServices, Target } from '@culvert/proxy/agent';
import { type AgentConfig, readAgentConfig } from './agent-config.ts';
import {
  type DeviceConnection,
  type DeviceConnectionFlags,
  deviceConnection,
  type Surroundings,
  surroundings,
} from './hub-connection.ts';
import { parseServiceAddress } from './service-address.ts';
import { agentHostKeys } from './ssh-host-keys.ts';

/** The options of `culvert agent` that name files, or that override values from files. */
export interface AgentFileFlags extends DeviceConnectionFlags {
  readonly config?: string;
  readonly service?: readonly string[];
  readonly defaultService?: string;
  /** Paths of `.pub` files. */
  readonly sshHostKey?: readonly string[];
  /** False with `--no-ssh-host-keys`. */
  readonly sshHostKeys: boolean;
  /** In seconds. */
  readonly halfCloseTimeout?: number;
  /** In seconds. */
  readonly sessionRetention?: number;
  readonly endKey?: string;
  readonly authorizedServices?: string;
  readonly requireEncryption?: boolean;
}

/** The settings that an agent is started with. */
export interface AgentSetup {
  readonly address: AgentAddress;
  readonly services: AgentServices;
  /** Public keys of this device's SSH server, for the hub to register. */
  readonly sshHostKeys: readonly string[];
  /** As in `AgentOptions`. */
  readonly halfCloseMs?: number;
  /** As in `AgentOptions`. */
  readonly sessionRetentionSeconds?: number;
  readonly encryption: AgentEncryption;
}

/** How an agent encrypts sessions. Changes take effect at its next start, those of the files of authorised services at once. */
export interface AgentEncryption {
  /** File of the agent's key; undefined: the default one. */
  readonly endKeyFile: string | undefined;
  /** File of those who may connect; undefined: whoever the hub lets in. */
  readonly authorizedServices: string | undefined;
  readonly requireEncryption: boolean;
}

/** The agent's configuration files. They can be read again while the agent runs; values from the command line and the environment stay in force. */
export class AgentFiles {
  readonly #flags: AgentFileFlags;
  readonly #around: Surroundings;

  constructor(flags: AgentFileFlags, around: Surroundings = surroundings()) {
    this.#flags = flags;
    this.#around = around;
  }

  /**
   * Reads all the files.
   * @throws CulvertError `usage`, `config_invalid`, `argument_invalid`: one line that names the mistake
   */
  read(): AgentSetup {
    const config = this.#config();
    const services = offeredServices(config, this.#flags.service ?? []);
    if (services.size === 0) {
      throw new CulvertError(
        'usage',
        'nothing to offer: give --service NAME=HOST:PORT, such as --service ssh=127.0.0.1:22',
      );
    }
    const defaultService = this.#flags.defaultService ?? config.defaultService;
    const address = deviceConnection(this.#flags, config, this.#around);
    assertProof(address);
    const keyFiles = this.#flags.sshHostKeys ? (this.#flags.sshHostKey ?? config.sshHostKeys) : false;
    const offered = { services, ...(defaultService === undefined ? {} : { defaultService }) };
    const halfCloseSeconds = this.#flags.halfCloseTimeout ?? config.halfCloseSeconds;
    const sessionRetentionSeconds = this.#flags.sessionRetention ?? config.sessionRetentionSeconds;
    return {
      address,
      encryption: {
        endKeyFile: this.#flags.endKey ?? config.endKeyFile,
        authorizedServices: this.#flags.authorizedServices ?? config.authorizedServices,
        requireEncryption: this.#flags.requireEncryption ?? config.requireEncryption ?? false,
      },
      services: offered,
      sshHostKeys: agentHostKeys(keyFiles, services),
      ...(halfCloseSeconds === undefined ? {} : { halfCloseMs: halfCloseSeconds * 1_000 }),
      ...(sessionRetentionSeconds === undefined ? {} : { sessionRetentionSeconds }),
    };
  }

  /** Reads the connection options again from the files; undefined if the files cannot be read. */
  readAgain(): AgentAddress | undefined {
    try {
      const quiet = { ...this.#around, warn: () => undefined };
      const address = deviceConnection(this.#flags, this.#config(), quiet);
      assertProof(address);
      return address;
    } catch {
      // The file may be half-written; it is read again after the next connection attempt.
      return undefined;
    }
  }

  #config(): AgentConfig {
    const { config } = this.#flags;
    return config === undefined ? { services: new Map<string, Target>() } : readAgentConfig(config);
  }
}

/** Checks that the certificate options match the connection string, and throws a message about flags if they do not. */
function assertProof({ connectionString, certificate }: DeviceConnection): void {
  const byCertificate = parseDeviceConnectionString(connectionString).x509 === true;
  if (byCertificate && certificate === undefined)
    throw new CulvertError('usage', 'the connection string says x509=true: give --cert-file and --key-file');
  if (!byCertificate && certificate !== undefined)
    throw new CulvertError(
      'usage',
      '--cert-file and --key-file go with a connection string that says x509=true; this one has a key or token',
    );
}

/** The services of the configuration file; a service of the command line overrides one of the same name. */
function offeredServices(config: AgentConfig, flags: readonly string[]): ReadonlyMap<string, Target> {
  const services = new Map(config.services);
  for (const flag of flags) {
    const { name, host, port } = parseServiceAddress(flag, 1);
    services.set(name, { host, port });
  }
  return services;
}
