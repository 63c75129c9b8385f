import { once } from 'node:events';

/** A stream request as the callback of an Azure device client receives it. */
export interface AzureRequest {
  /** The id of the request, repeated in the answer: `$rid` over MQTT, the correlation id over AMQP. */
  readonly requestId: unknown;
  readonly streamName: string;
  readonly url: string;
  readonly token: string;
}

/** The control channel of a device that uses one of Azure's SDKs, over any transport. */
export interface AzureControlChannel {
  /** Sends the answer; resolves when the device counts it as sent. */
  answer(request: AzureRequest, accepted: boolean): Promise<void>;
  /** Replaces the token on the open connection; absent where the protocol cannot do that, and a new token requires a new connection. */
  renewToken?(): Promise<void>;
  /** Stops accepting requests, where the transport has a message for that. */
  unsubscribe(): Promise<void>;
  /** Disconnects cleanly. */
  close(): Promise<void>;
  /** Cuts the TCP connection without a closing message, as C devices do. */
  drop(): void;
  /** Resolves when the connection has ended, for whatever reason. */
  readonly ended: Promise<void>;
}

/** Receives a request, possibly before {@link OpenControlChannel} has resolved. */
export type RequestListener = (request: AzureRequest, channel: AzureControlChannel) => void;

/** Opens a control channel; resolves when the hub has recorded that the device accepts requests. */
export type OpenControlChannel = (onRequest: RequestListener) => Promise<AzureControlChannel>;

/** The address in a grant's URL, parsed as the C client's `ws_url` does. */
export interface StreamAddress {
  readonly host: string;
  readonly port: number;
  /** With its leading `/`. */
  readonly path: string;
}

/** Bytes of the array into which the C samples format `Bearer {token}`, terminating NUL included. */
const AUTHORIZATION_BYTES = 1_024;
/** Maximum length of a path, in bytes: with a longer one the C samples write beyond the end of their buffer. */
const PATH_BYTES = 1_000;

/**
 * Parses a grant by the rules of the C client.
 * @throws Error where that client fails or crashes: no port, a query, no TLS, a long token or path
 */
export function streamAddress({ url, token }: AzureRequest): StreamAddress {
  const match = /^wss:\/\/([^/:?#]+):(\d+)(\/[^?#]*)$/.exec(url);
  if (match === null) throw new Error(`the C client cannot use this URL: ${url}`);
  const [, host = '', port, path = ''] = match;
  if (path.length > PATH_BYTES) throw new Error('the path is too long for the C client');
  if (`Bearer ${token}`.length + 1 > AUTHORIZATION_BYTES)
    throw new Error('exit 139: the token is too long for the C client');
  return { host, port: Number(port), path };
}

/** Resolves when `source` has emitted `close` or `error`. */
export function closeOf(source: NodeJS.EventEmitter): Promise<void> {
  return once(source, 'close').then(
    () => undefined,
    () => undefined,
  );
}
