import { CulvertError } from '@culvert/protocol';
import { type Connect, type ConnectOptions, startConnect } from '@culvert/proxy/connect';

/** A service-local proxy of one service, on the requested port or, if that is in use, on a free one. */
export interface Listener {
  readonly name: string;
  readonly port: number;
  /** The requested port, if it was not available. */
  readonly taken: number | undefined;
  readonly proxy: Connect;
}

/** Starts a listener. */
export async function listenSomewhere(
  options: Omit<ConnectOptions, 'services'>,
  name: string,
  port: number,
): Promise<Listener> {
  const start = async (at: number, taken: number | undefined): Promise<Listener> => {
    const proxy = await startConnect({ ...options, services: [{ name, port: at }] });
    return { name, port: proxy.services[0]?.port ?? at, taken, proxy };
  };
  try {
    return await start(port, undefined);
  } catch (error) {
    if (!isTaken(error)) throw error;
    return start(0, port);
  }
}

/** Whether a listener failed because its port is in use or this user may not use it. */
export function isTaken(error: unknown): boolean {
  const cause = error instanceof CulvertError ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && (cause.code === 'EADDRINUSE' || cause.code === 'EACCES');
}
