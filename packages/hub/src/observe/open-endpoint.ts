import { CulvertError } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { EndpointConfig } from '../config/endpoint-config.ts';
import { readCaFile, readHeadersFile } from './endpoint-files.ts';
import { type Endpoint, HttpPost } from './http-post.ts';

/**
 * Reads the files that an endpoint's configuration names. It does not connect.
 * @param setting the configuration key, for error messages
 * @param options.path the path to use if the URL has none; default `/`
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
