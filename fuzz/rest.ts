import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { formatAuthority, parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { startHub, type TestHub } from '@culvert/testkit';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { Prng } from './prng.ts';

// Fuzzes the REST listener with requests of real clients whose request line, headers, address and body are damaged; most have a token that permits
// everything. For every input, the hub must answer with well-formed HTTP and never with 500, or close the connection; afterwards it must still
// answer a correct request.
// `node --conditions=development fuzz/rest.ts [--seed N] [--runs N]`

/** How often each status was returned; `closed` when the hub sent nothing. */
export type FuzzCounts = Record<string, number>;

/** Milliseconds after which the sender closes a request that the hub regards as incomplete. */
const PATIENCE_MS = 150;

/**
 * Runs `runs` requests.
 * @throws Error that names the failing case; the same seed fails again
 */
export async function fuzzRest(seed: number, runs: number): Promise<FuzzCounts> {
  const hub = await startHub();
  const random = new Prng(seed);
  const inputs = (await corpus('rest', '')).map((bytes) => bytes.toString('latin1'));
  const authorization = await ownerToken(hub);
  const counts: FuzzCounts = {};
  try {
    for (let run = 0; run < runs; run++) {
      const one = random.fork();
      const request = inputs[run] ?? damaged(one, one.pick(inputs));
      const answer = await send(hub, complete(one, request, authorization));
      const fault = hub.events.find(({ type }) => type === 'fault');
      const problem = fault === undefined ? faultOf(answer) : JSON.stringify(fault);
      if (problem !== undefined) throw new Error(`seed ${seed}, run ${run}: ${problem}\n${JSON.stringify(request)}`);
      const status = /^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 'closed';
      counts[status] = (counts[status] ?? 0) + 1;
    }
    // One of the requests may have rotated the key: the old key is then the secondary key and still valid.
    const last = await send(hub, complete(random, 'GET / HTTP/1.1\r\n\r\n', authorization));
    if (!last.startsWith('HTTP/1.1 200 ')) throw new Error('A correct request is no longer answered.');
  } finally {
    await hub.stop();
  }
  return counts;
}

/** A token that permits everything, for the whole hub. */
async function ownerToken(hub: TestHub): Promise<string> {
  const { host, port, policy, key } = parseServiceConnectionString(hub.ownerConnectionString);
  const expiry = Math.floor(Date.now() / 1000) + 3_600;
  return signSasToken({ audience: formatAuthority(host, port), key, policy, expiry });
}

/** Fills in the token (usually) and the content length (usually correct). */
function complete(random: Prng, request: string, authorization: string): Buffer {
  const end = request.indexOf('\r\n\r\n');
  if (end < 0) return Buffer.from(request, 'latin1');
  const [head, body] = [request.slice(0, end), request.slice(end + 4)];
  const length = Buffer.byteLength(body, 'latin1') + (random.chance(0.02) ? random.integer(-5, 5) : 0);
  const token = random.chance(0.95) ? authorization : damaged(random, authorization).replace(/[\r\n]/g, '');
  const lines = [head, 'Host: 127.0.0.1', 'Connection: close', `Authorization: ${token}`];
  if (body !== '' || random.chance(0.5)) lines.push(`Content-Length: ${length}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1');
}

const PIECES = [
  '\0',
  '%00',
  '%',
  '%2f',
  '..',
  '//',
  '\r\n',
  ': ',
  '{',
  '[[[[[[',
  '"',
  'null',
  '-1',
  '1e999',
  '{"__proto__":{"x":1}}',
  '\ud800',
  'ä',
  '*',
  'W/',
  'Transfer-Encoding: chunked\r\n',
];

/** A text with parts overwritten, cut, repeated, or with inserted characters that confuse parsers. */
function damaged(random: Prng, text: string): string {
  let result = text;
  for (let count = random.integer(1, 3); count > 0; count--) {
    const at = random.integer(0, result.length);
    switch (random.integer(0, 4)) {
      case 0:
        result = result.slice(0, at) + String.fromCharCode(random.integer(0, 255)) + result.slice(at + 1);
        break;
      case 1:
        result = result.slice(0, at) + result.slice(at + random.integer(1, 20));
        break;
      case 2:
        result = result.slice(0, at) + random.pick(PIECES) + result.slice(at);
        break;
      case 3:
        result = result.slice(0, at) + random.text(random.pick([1, 100, 20_000])) + result.slice(at);
        break;
      default:
        // Replaces a JSON value by another one.
        result = result.replace(/:("[^"]*"|true|false|\{[^{}]*\})/, () => `:${random.pick(VALUES)}`);
    }
  }
  return result;
}

const VALUES = ['null', '0', '""', '[]', '{}', 'true', '"\\u0000"', '1e400', `"${'A'.repeat(200)}"`, '[[],[{}]]'];

/** Sends bytes and returns everything received until the hub closes or the sender's timeout. */
async function send(hub: TestHub, bytes: Buffer): Promise<string> {
  const socket: TLSSocket = connect({ host: '127.0.0.1', port: hub.port, ca: hub.ca });
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
  });
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  await Promise.race([once(socket, 'secureConnect'), closed]);
  socket.write(bytes);
  const endTimer = setTimeout(() => socket.end(), PATIENCE_MS);
  // The hub did not close the connection after the sender had ended it.
  const destroyTimer = setTimeout(() => socket.destroy(), 20 * PATIENCE_MS);
  await closed;
  clearTimeout(endTimer);
  clearTimeout(destroyTimer);
  return answer;
}

/** The problem with an answer; undefined if there is none. */
function faultOf(answer: string): string | undefined {
  if (answer === '') return undefined;
  const [line = ''] = answer.split('\r\n', 1);
  if (!/^HTTP\/1\.1 [1-5]\d\d [A-Za-z -]+$/.test(line)) return `no HTTP: ${line}`;
  if (/^HTTP\/1\.1 50[0235]/.test(line)) return line;
  return /sig=|SharedAccessKey/.test(answer.replace(/"connectionString":"[^"]*"/g, ''))
    ? 'it shows a secret'
    : undefined;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(5_000);
  process.stderr.write(`seed ${seed}, ${runs} runs\n`);
  process.stdout.write(`${JSON.stringify(await fuzzRest(seed, runs), null, 2)}\n`);
}
