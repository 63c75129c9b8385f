import type { AddressInfo, Server } from 'node:net';
import { CulvertError, formatHostPort } from '@culvert/protocol';

/** The address that a server listens on. */
export interface Listening {
  readonly host: string;
  readonly port: number;
}

/**
 * Binds a server.
 * @param at.reusePort whether other listeners of this program share the address
 * @param key the configuration key, for the error message
 * @throws CulvertError `config_invalid`, with one line that names the remedy
 */
export function listen(
  server: Server,
  at: { host: string | undefined; port: number; reusePort?: boolean },
  key: string,
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      reject(new CulvertError('config_invalid', explain(error, at, key), { cause: error }));
    };
    server.once('error', onError);
    const { host, port: wanted, reusePort = false } = at;
    server.listen({ port: wanted, reusePort, ...(host === undefined ? {} : { host }) }, () => {
      server.removeListener('error', onError);
      // Emitted when the process has no file descriptor for a new connection: that connection is refused, and later ones are accepted again
      // when descriptors are free.
      server.on('error', () => undefined);
      const { address, port } = server.address() as AddressInfo;
      resolve({ host: address, port });
    });
  });
}

function explain(error: NodeJS.ErrnoException, at: { host: string | undefined; port: number }, key: string): string {
  const where = at.host === undefined ? `port ${at.port}` : formatHostPort(at.host, at.port);
  const flag = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return `${where} is taken by another program: stop that one, or choose another address with ${flag} (${key} in the configuration file).`;
    case 'EACCES':
      return `${where} needs more privileges: choose a port above 1023 with ${flag} (${key} in the configuration file), or allow this program to bind lower ports.`;
    case 'EADDRNOTAVAIL':
      return `${where} is not an address of this machine (${key}).`;
    case 'ENOTFOUND':
      return `${where}: this host name cannot be resolved (${key}).`;
    case 'ENOTSUP':
      return `${where} cannot be shared by threads on this operating system: leave out gatewayThreads and gatewayListen.`;
    default:
      return `${where} cannot be listened on: ${error.code ?? error.message} (${key}).`;
  }
}

/** Stops accepting connections and resolves when the server has closed. The caller ends the open connections. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => (server.listening ? server.close(() => resolve()) : resolve()));
}
