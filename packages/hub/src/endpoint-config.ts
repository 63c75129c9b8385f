import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { z } from 'zod';
import { readCaFile, readHeadersFile } from './observe/endpoint-files.ts';
import { type Endpoint, HttpPost } from './observe/http-post.ts';

/** An HTTP endpoint that is told things: `http:`, or `https:` with a proxy where the environment names one. */
export const endpointConfig = z.strictObject({
  url: z.string().max(2_048),
  /** A file of secret headers, `Name: value` a line; over `https:` only, or to this machine. */
  headersFile: z.string().optional(),
  /** PEM certificates of authorities to trust beside the system's. */
  caFile: z.string().optional(),
});

export type EndpointConfig = z.infer<typeof endpointConfig>;

/**
 * Reads what an endpoint's configuration names; connects to nothing yet.
 * @param setting whose endpoint it is, for errors
 * @param options.path taken where the URL has none of its own; default `/`
 * @throws CulvertError `config_invalid`, one line that names the setting
 */
export function openEndpoint(
  setting: string,
  config: EndpointConfig,
  options: { readonly clock: Clock; readonly path?: string },
): HttpPost {
  try {
    return new HttpPost(readEndpoint(config, options.path ?? '/'), options.clock);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CulvertError('config_invalid', `${setting} cannot be used: ${why}`, { cause: error });
  }
}

function readEndpoint({ url: text, headersFile, caFile }: EndpointConfig, path: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new CulvertError('config_invalid', 'its url must begin with https:// or http://.');
  }
  if (url.username !== '' || url.password !== '') {
    throw new CulvertError('config_invalid', 'its url must hold no password: put a header into a headersFile.');
  }
  const plain = url.protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (plain && headersFile !== undefined) {
    throw new CulvertError('config_invalid', 'secret headers go over https:// only, or to this machine.');
  }
  if (url.pathname === '/') url.pathname = path;
  const headers = headersFile === undefined ? {} : readHeadersFile(headersFile);
  return { url, headers, ca: caFile === undefined ? undefined : readCaFile(caFile) };
}
