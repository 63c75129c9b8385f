// Opens a stream in a session, uses it and ends it, and then does nothing: the process must end by itself, although the client is not closed.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { CulvertError, ServiceClient } from '@culvert/service';

const [caFile = '', action = ''] = process.argv.slice(2);
const outbound = { ca: readFileSync(caFile, 'utf8'), proxy: false } as const;
const client = ServiceClient.fromConnectionString(process.env['CULVERT_CONNECTION_STRING'] ?? '', { outbound });
const stream = await client.openStream('d', { name: 'ssh' });
stream.write('hello');
process.stdout.write(`${(await once(stream, 'data'))[0]}\n`);
stream.resume();
if (action === 'end') {
  stream.end();
  await once(stream, 'end');
} else stream.once('error', (error) => process.stdout.write(`${CulvertError.from(error).code}\n`));
