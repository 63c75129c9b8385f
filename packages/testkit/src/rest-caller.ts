import type { IncomingHttpHeaders } from 'node:http';
import { request as startRequest } from 'node:https';
import { type Identity, identityPath, parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import type { TestHub } from './test-hub.ts';

/** What a hub answered. */
export interface RestReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface RestCall {
  readonly headers?: Record<string, string>;
  /** Text as it stands, or a value to be sent as JSON. */
  readonly body?: unknown;
  /** Whose token to send; default `iothubowner`. */
  readonly policy?: string;
  /** Sent in the place of a token. */
  readonly authorization?: string;
  readonly signal?: AbortSignal;
}

/** Calls a hub's REST API as a test dictates, with no SDK in between. */
export class RestCaller {
  readonly #hub: TestHub;

  constructor(hub: TestHub) {
    this.#hub = hub;
  }

  /** A token as a policy makes it; `audience` is put into it as it stands. */
  async token(policy: string, over: { audience?: string; expiry?: number } = {}): Promise<string> {
    const { key } = parseServiceConnectionString(await this.#hub.policy(policy));
    const audience = over.audience ?? this.#host;
    return signSasToken({ audience, key, policy, expiry: over.expiry ?? tenMinutesFromNow() });
  }

  /** A token as a device or module makes it for itself, with its own key. */
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

/** Status, and Azure's number in Azure's form of an error body. */
export function azureError({ status, body }: RestReply): [status: number, code: number] {
  return [status, JSON.parse(JSON.parse(body).Message).errorCode];
}

/** Unix seconds. */
function tenMinutesFromNow(): number {
  return Math.floor(Date.now() / 1_000) + 600;
}
