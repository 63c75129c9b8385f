import { CulvertError, parseHostPort } from '@culvert/protocol';
import { z } from 'zod';

/** Maximum threads: more threads than the largest machines have processors would only take memory. */
const MAX_THREADS = 64;

/** A gateway with worker threads at its own address (docs/operating/gateway-threads.md). Absent: streams use the main port and the hub's own thread. */
export const gatewayConfig = {
  /** Number of worker threads for streams. Absent: no worker threads and no separate address. */
  gatewayThreads: z.number().int().min(1).max(MAX_THREADS).optional(),
  /** `HOST:PORT` of the gateway, shared by its threads; must differ from the main port. Needs `gatewayThreads`. */
  gatewayListen: z.string().optional(),
  /** `HOST[:PORT]` under which clients reach the gateway. Default: the listening host, or the hub's main name. Needs `gatewayThreads`. */
  gatewayHost: z.string().optional(),
  /** False: streams do not use WebAssembly, and take 1.5 to 2 times the processor time; for systems without WebAssembly, or to exclude it as a cause. */
  gatewayWebAssembly: z.boolean().default(true),
};

/** The configured gateway with several threads. */
export interface GatewayAddress {
  readonly threads: number;
  readonly listen: { readonly host: string | undefined; readonly port: number };
  /** The name in the URLs of streams; without port, the port that `listen` is bound to. */
  readonly name: { readonly host: string; readonly port: number | undefined };
}

type Listen = { readonly host: string | undefined; readonly port: number };

/**
 * Validates the configuration of the gateway's threads.
 * @param options.others the hub's other listeners, by their configuration keys
 * @param options.mainHost the name under which clients reach the hub
 * @returns undefined when no threads are configured
 * @throws CulvertError `config_invalid`
 */
export function gatewayAddress(
  config: {
    readonly gatewayThreads?: number | undefined;
    readonly gatewayListen?: string | undefined;
    readonly gatewayHost?: string | undefined;
  },
  options: {
    readonly parseListen: (key: string, text: string) => Listen;
    readonly others: Readonly<Record<string, Listen | undefined>>;
    readonly mainHost: string;
  },
): GatewayAddress | undefined {
  const { gatewayThreads: threads, gatewayListen, gatewayHost } = config;
  if (threads === undefined) {
    const key = gatewayListen !== undefined ? 'gatewayListen' : gatewayHost !== undefined ? 'gatewayHost' : undefined;
    if (key === undefined) return undefined;
    throw invalid(`${key} is for a gateway of several threads: say how many with gatewayThreads, or remove it`);
  }
  if (gatewayListen === undefined) {
    throw invalid(
      'gatewayThreads needs gatewayListen, an address other than the main port’s: on a shared port the operating system cannot tell a stream from a request',
    );
  }
  const listen = options.parseListen('gatewayListen', gatewayListen);
  for (const [key, other] of Object.entries(options.others)) {
    if (other !== undefined && collide(listen, other)) {
      throw invalid(
        `gatewayListen and ${key} are the same address: give the gateway another port or another IP address`,
      );
    }
  }
  return { threads, listen, name: nameOf(gatewayHost, listen, options.mainHost) };
}

function nameOf(gatewayHost: string | undefined, { host }: Listen, mainHost: string): GatewayAddress['name'] {
  if (gatewayHost === undefined) return { host: isEvery(host) ? mainHost : (host ?? mainHost), port: undefined };
  try {
    const { host: name, port } = parseHostPort(gatewayHost, -1);
    return { host: name, port: port < 0 ? undefined : port };
  } catch {
    throw invalid(`gatewayHost: '${gatewayHost}' is not HOST or HOST:PORT`);
  }
}

function collide(one: Listen, other: Listen): boolean {
  if (one.port !== other.port || one.port === 0) return false;
  return isEvery(one.host) || isEvery(other.host) || one.host === other.host;
}

function isEvery(host: string | undefined): boolean {
  return host === undefined || host === '0.0.0.0' || host === '::';
}

function invalid(what: string): CulvertError {
  return new CulvertError('config_invalid', `${what}.`);
}
