import { once } from 'node:events';

/** A stream request as the callback of one of Azure’s devices gets it. */
export interface AzureRequest {
  /** What names it in the answer: `$rid` over MQTT, the correlation id over AMQP. */
  readonly requestId: unknown;
  readonly streamName: string;
  readonly url: string;
  readonly token: string;
}

/** The control channel of a device with one of Azure's SDKs, over any transport. */
export interface AzureControlChannel {
  /** Sends the answer; resolves when the device counts it as sent. */
  answer(request: AzureRequest, accepted: boolean): Promise<void>;
  /** Takes a new token in place, where the protocol can; where it cannot, a new token takes a new connection. */
  renewToken?(): Promise<void>;
  /** Stops taking requests, where the transport has a message for that. */
  unsubscribe(): Promise<void>;
  /** Disconnects cleanly. */
  close(): Promise<void>;
  /** Cuts the TCP connection without a word, as C devices do. */
  drop(): void;
  /** Resolves when the connection has ended, however it did. */
  readonly ended: Promise<void>;
}

/** Takes a request, which may come before {@link OpenControlChannel} has resolved. */
export type RequestListener = (request: AzureRequest, channel: AzureControlChannel) => void;

/** Opens a control channel; resolves when the hub knows that the device takes requests. */
export type OpenControlChannel = (onRequest: RequestListener) => Promise<AzureControlChannel>;

/** Where a grant leads, taken apart as the C client's `ws_url` does it. */
export interface StreamAddress {
  readonly host: string;
  readonly port: number;
  /** With its leading `/`. */
  readonly path: string;
}

/** Size of the array into which the C samples format `Bearer {token}`, its end mark included. */
const AUTHORIZATION_BYTES = 1_024;
/** Bytes of a path beyond which the C samples write over the end of theirs. */
const PATH_BYTES = 1_000;

/**
 * Takes a grant apart by the rules of the C client.
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

/** Waits for the end of something that has ended when it says `close`. */
export function closeOf(source: NodeJS.EventEmitter): Promise<void> {
  return once(source, 'close').then(
    () => undefined,
    () => undefined,
  );
}
