import type { IncomingHttpHeaders } from 'node:http';
import { request as startRequest } from 'node:https';
import { type Identity, identityPath, parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import type { TestHub } from './test-hub.ts';

/** A response of a hub. */
export interface RestReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface RestCall {
  readonly headers?: Record<string, string>;
  /** A string that is sent unchanged, or another value that is sent as JSON. */
  readonly body?: unknown;
  /** The policy whose token is sent; default `iothubowner`. */
  readonly policy?: string;
  /** The `Authorization` header to send instead of a policy's token. */
  readonly authorization?: string;
  readonly signal?: AbortSignal;
}

/** Sends requests to a hub's REST API without an SDK, so that a test controls their content. */
export class RestCaller {
  readonly #hub: TestHub;

  constructor(hub: TestHub) {
    this.#hub = hub;
  }

  /** Creates a token that is signed with a policy's key. `audience` is used unchanged. */
  async token(policy: string, over: { audience?: string; expiry?: number } = {}): Promise<string> {
    const { key } = parseServiceConnectionString(await this.#hub.policy(policy));
    const audience = over.audience ?? this.#host;
    return signSasToken({ audience, key, policy, expiry: over.expiry ?? tenMinutesFromNow() });
  }

  /** Creates a token of a device or module, signed with its own key. */
  ownToken(identity: Identity, key: string): Promise<string> {
    return signSasToken({ audience: `${this.#host}/${identityPath(identity)}`, key, expiry: tenMinutesFromNow() });
  }

  async call(method: string, path: string, options: RestCall = {}): Promise<RestReply> {
    const authorization = options.authorization ?? (await this.token(options.policy ?? 'iothubowner'));
    const { headers, signal } = options;
    const body = bodyOf(options.body);
    return new Promise((resolve, reject) => {
      const request = startRequest(
        {
          host: '127.0.0.1',
          port: this.#hub.port,
          ca: this.#hub.ca,
          method,
          path,
          headers: { authorization, ...(body === undefined ? {} : { 'content-length': body.length }), ...headers },
          ...(signal ? { signal } : {}),
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
          response.on('error', reject);
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
          );
        },
      );
      request.on('error', reject);
      request.end(body);
    });
  }

  get #host(): string {
    return `127.0.0.1:${this.#hub.port}`;
  }
}

function bodyOf(body: unknown): Buffer | undefined {
  if (body === undefined) return undefined;
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}

/** Returns the status and the `errorCode` from an error body in Azure's format. */
export function azureError({ status, body }: RestReply): [status: number, code: number] {
  return [status, JSON.parse(JSON.parse(body).Message).errorCode];
}

/** Returns a time in seconds since the epoch. */
function tenMinutesFromNow(): number {
  return Math.floor(Date.now() / 1_000) + 600;
}
