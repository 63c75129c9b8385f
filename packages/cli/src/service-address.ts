import { CulvertError, parseHostPort, parseStreamName, printable } from '@culvert/protocol';

/** A service's name and a TCP address, from the agent's `--service` or an argument of `connect`. */
export interface ServiceAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/**
 * Parses `NAME=[HOST:]PORT`; without a host, 127.0.0.1. The name ends at the first `=`, since names cannot hold one.
 * @param lowestPort 1 for a target, 0 for a listener whose port the system may choose
 * @throws CulvertError `usage`
 */
export function parseServiceAddress(text: string, lowestPort: 0 | 1): ServiceAddress {
  const at = text.indexOf('=');
  if (at < 1) throw new CulvertError('usage', `'${printable(text)}' is not NAME=[HOST:]PORT, such as ssh=127.0.0.1:22`);
  const name = streamName(text.slice(0, at));
  return { name, ...parseAddress(text.slice(at + 1), lowestPort) };
}

/**
 * Parses `[HOST:]PORT`.
 * @throws CulvertError `usage`
 */
export function parseAddress(text: string, lowestPort: 0 | 1): { readonly host: string; readonly port: number } {
  const bare = /^:?(\d{1,5})$/.exec(text);
  const { host, port } = bare === null ? hostPort(text) : { host: '127.0.0.1', port: Number(bare[1]) };
  if (port < lowestPort || port > 65_535) {
    throw new CulvertError('usage', `'${printable(text)}' has no port from ${lowestPort} to 65535`);
  }
  return { host, port };
}

function hostPort(text: string): { readonly host: string; readonly port: number } {
  try {
    return parseHostPort(text, -1);
  } catch (error) {
    throw new CulvertError('usage', `'${printable(text)}' is not [HOST:]PORT`, { cause: error });
  }
}

function streamName(text: string): string {
  try {
    return parseStreamName(text);
  } catch (error) {
    throw new CulvertError('usage', CulvertError.from(error).message, { cause: error });
  }
}
