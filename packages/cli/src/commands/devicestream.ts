import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { type OutputFormat, pairs, writeJson, writeOut } from '../standard-output.ts';

/** `culvert devicestream show`: the hub's host name and its streaming endpoints. */
export function showDeviceStream(flags: ConnectionFlags & { readonly output: OutputFormat }): Promise<void> {
  return withClient(flags, 'service', async (client) => {
    const { hostName, streamingEndpoints } = await client.endpoints();
    if (flags.output === 'json') return writeJson({ hostName, streamingEndpoints });
    return writeOut(pairs([['Host name', hostName], ...streamingEndpoints.map((url) => ['Streaming', url] as const)]));
  });
}
