import { SocketAddress } from 'node:net';
import {
  MAX_PROXY_HEADER_BYTES,
  type ProxyHeaderReading,
  readProxyHeader,
} from '../packages/hub/src/listeners/proxy-header.ts';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { Prng } from './prng.ts';

// Fuzzes the parser of PROXY headers with valid and damaged headers. The result must not depend on how the bytes are split, the parser must not ask
// for more than 536 bytes, and it must accept only headers that an independent implementation of the rules accepts too.
// `node --conditions=development fuzz/proxy-header.ts [--seed N] [--runs N]`

/** How often a header was accepted, refused, or incomplete. */
export type FuzzCounts = Record<'taken' | 'refused' | 'waiting', number>;

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

function address(random: Prng): string {
  const group = () => random.integer(0, 0xffff).toString(16);
  return random.pick([
    () => [...random.bytes(4)].join('.'),
    () => Array.from({ length: 8 }, group).join(':'),
    () => `${group()}::${group()}`,
    () => `::ffff:${[...random.bytes(4)].join('.')}`,
    () => random.text(random.integer(0, 12), '0123456789abcdef:.%'),
  ])();
}

function header(random: Prng): Buffer {
  if (random.chance(0.5)) {
    const family = random.pick(['TCP4', 'TCP6', 'TCP4', 'TCP6', 'UNKNOWN', 'UDP4', '']);
    const port = () => random.pick([String(random.integer(0, 70_000)), '0', '00', '-1', '65535', '']);
    return Buffer.from(
      `PROXY ${family} ${address(random)} ${address(random)} ${port()} ${port()}${random.pick(['\r\n', '\r\n', '\n', ''])}`,
    );
  }
  const body = random.bytes(random.pick([0, 12, 36, 216, random.integer(0, 600)]));
  const length = random.pick([body.length, body.length, random.integer(0, 65_535)]);
  const command = random.pick([0x20, 0x21, 0x21, 0x21, 0x22, 0x11]);
  const family = random.pick([0x11, 0x21, 0x11, 0x21, 0x00, 0x12, 0x31]);
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, length >> 8, length & 0xff]), body]);
}

function damaged(random: Prng, bytes: Buffer): Buffer {
  if (random.chance(0.4)) return Buffer.concat([bytes, random.bytes(random.integer(0, 40))]);
  const copy = Buffer.from(bytes);
  for (let count = random.integer(1, 3); count > 0 && copy.length > 0; count--)
    copy[random.integer(0, copy.length - 1)] = random.pick([0, 10, 13, 32, 0xff, random.integer(0, 255)]);
  return random.chance(0.3) ? copy.subarray(0, random.integer(0, copy.length)) : copy;
}

/** Parses with only as many bytes each time as the parser asked for. */
function stepwise(bytes: Buffer): ProxyHeaderReading {
  let reading = readProxyHeader(bytes.subarray(0, 0));
  while ('atLeast' in reading) {
    const { atLeast } = reading;
    if (atLeast > MAX_PROXY_HEADER_BYTES) throw new Error(`The parser asks for ${atLeast} bytes.`);
    if (atLeast > bytes.length) return reading;
    reading = readProxyHeader(bytes.subarray(0, atLeast));
  }
  return reading;
}

/** The client that an accepted header names, determined independently: by a regular expression and Node's own parsing of addresses. */
function expected(taken: Buffer): { address: string; port: number } | undefined {
  const line = /^PROXY (?:UNKNOWN(?: .*)?|TCP([46]) (\S+) (\S+) (\d+) (\d+))\r\n$/s.exec(taken.toString('latin1'));
  if (line !== null) {
    const [, version, source = '', destination = '', port] = line;
    if (version === undefined) return undefined;
    const family = version === '4' ? 'ipv4' : 'ipv6';
    // The constructor throws if the text is not an address.
    new SocketAddress({ address: destination, family });
    return { address: new SocketAddress({ address: source, family }) && source, port: Number(port) };
  }
  if ((taken[12] ?? 0) === 0x20 || taken[13] === 0) return undefined;
  const bytes = taken[13] === 0x11 ? 4 : 16;
  const source = taken.subarray(16, 16 + bytes);
  const text = bytes === 4 ? source.join('.') : (source.toString('hex').match(/.{4}/g)?.join(':') ?? '');
  const canonical = bytes === 4 ? text : new URL(`http://[${text}]`).hostname.slice(1, -1);
  return { address: canonical, port: taken.readUInt16BE(16 + 2 * bytes) };
}

function check(bytes: Buffer): keyof FuzzCounts {
  const reading = stepwise(bytes);
  const atOnce = readProxyHeader(bytes);
  // With all bytes at once, the parser may already have found an error in the incomplete header.
  if ('atLeast' in reading && !('length' in atOnce)) return 'waiting';
  if (JSON.stringify(atOnce) !== JSON.stringify(reading)) throw new Error('The result depends on the chunks.');
  if ('atLeast' in reading) return 'waiting';
  if ('problem' in reading) return 'refused';
  if (reading.length > Math.min(bytes.length, MAX_PROXY_HEADER_BYTES)) throw new Error('The header is too long.');
  const client = expected(bytes.subarray(0, reading.length));
  if (JSON.stringify(client) !== JSON.stringify(reading.client)) throw new Error(`The client is ${client?.address}.`);
  return 'taken';
}

/**
 * Reads `runs` headers.
 * @throws Error that names the failing case; the same seed fails again
 */
export async function fuzzProxyHeaders(seed: number, runs: number): Promise<FuzzCounts> {
  for (const outcome of ['taken', 'refused'] as const) {
    for (const kept of await corpus('proxy-header', outcome)) {
      const bytes = Buffer.from(kept.toString().trim(), 'hex');
      if (check(bytes) !== outcome) throw new Error(`kept input: ${bytes.toString('hex')} is not ${outcome}`);
    }
  }
  const random = new Prng(seed);
  const counts: FuzzCounts = { taken: 0, refused: 0, waiting: 0 };
  for (let run = 0; run < runs; run++) {
    const bytes = damaged(random, header(random));
    try {
      counts[check(bytes)]++;
    } catch (error) {
      throw new Error(`seed ${seed}, run ${run}: ${bytes.toString('hex')}`, { cause: error });
    }
  }
  return counts;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(1_000_000);
  process.stderr.write(`seed ${seed}, ${runs} runs\n`);
  process.stdout.write(`${JSON.stringify(await fuzzProxyHeaders(seed, runs), null, 2)}\n`);
}
