import type { Duplex } from 'node:stream';
import type { CulvertError } from '@culvert/protocol';
import type { EndedBy } from '../local-relay.ts';

/**
 * Opens a stream to a device: `ServiceClient.openStream`, or a function with the same signature. `early` allows a connection of a session before the
 * device has answered.
 */
export type OpenStreamFunction = (
  deviceId: string,
  options: { readonly name: string; readonly signal?: AbortSignal; readonly early?: boolean },
) => Promise<Duplex>;

/** The address on this machine for one service of the device. */
export interface LocalService {
  /** The service's name, sent as the stream's name. */
  readonly name: string;
  /** Default 127.0.0.1, which other machines cannot reach. */
  readonly host?: string;
  /** 0 lets the system choose a port. */
  readonly port: number;
}

/** The actual address of a listener. */
export interface BoundService {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** An event of a service-local proxy. Stream ids count from 1 for the life of the proxy. */
export type ConnectEvent =
  | { readonly type: 'listening'; readonly service: string; readonly host: string; readonly port: number }
  | { readonly type: 'stream-opened'; readonly id: number; readonly service: string; readonly openedInMs: number }
  | {
      readonly type: 'stream-ended';
      readonly id: number;
      readonly service: string;
      /** Which side ended the stream: `local` is the program on this machine, `remote` the device. */
      readonly endedBy: EndedBy;
      readonly bytesSent: number;
      readonly bytesReceived: number;
      readonly durationMs: number;
    }
  | { readonly type: 'stream-failed'; readonly id: number; readonly service: string; readonly error: CulvertError }
  | { readonly type: 'listener-failed'; readonly service: string; readonly error: CulvertError };
