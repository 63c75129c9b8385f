import { createHmac } from 'node:crypto';
import { CulvertError, type Identity } from '@culvert/protocol';
import { Authenticator } from '../packages/hub/src/auth/authenticate.ts';
import type { IdentityRecord } from '../packages/hub/src/registry/registry.ts';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { Prng } from './prng.ts';

// Fuzzes the verification of SAS tokens: every token must be correctly signed or be refused with an error of the error table.
// `node --conditions=development fuzz/sas-token.ts [--seed N] [--runs N]`

const NOW = 1_700_000_000;
const SKEW = 300;
const HOST = 'hub.example';
const ALPHABET =
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:.+%_#*?!(),=@;$'/& \u0000\u00e9\ud800";

/** Result of a run: how many tokens were accepted, and how many rejected with which code. */
export type FuzzCounts = Record<string, number>;

type Device = IdentityRecord & { readonly keys: { readonly primaryKey: string; readonly secondaryKey: string } };

/** A device and its keys. */
function newDevice(random: Prng): Device {
  const keys = {
    primaryKey: random.bytes(32).toString('base64'),
    secondaryKey: random.bytes(32).toString('base64'),
  };
  return {
    deviceId: 'd1',
    generationId: 'g',
    etag: 'e',
    status: 'enabled',
    statusReason: null,
    ...{ statusUpdatedAt: 0, createdAt: 0, updatedAt: 0 },
    ...{ managedBy: null, iotEdge: false, sshHostKeys: [] },
    authentication: { type: 'sas', ...keys },
    keys,
  };
}

function signed(sr: string, se: string, key: string): string {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(`${sr}\n${se}`).digest('base64');
}

/** A well-formed token whose audience and expiry are right or nearly right, in one of the spellings that clients use. */
function wellFormed(random: Prng, device: Device): string {
  const plain = random.pick([HOST, `${HOST}/devices`, `${HOST}/devices/d1`, `${HOST}/devices/d2`, `${HOST}.evil`, '']);
  const sr = random.pick([plain, encodeURIComponent(plain), encodeURIComponent(plain).toLowerCase()]);
  const se = String(NOW + random.integer(-SKEW - 60, 60));
  const key = random.pick([device.keys.primaryKey, device.keys.secondaryKey, random.bytes(32).toString('base64')]);
  const escaped = encodeURIComponent(signed(sr, se, key));
  const sig = random.pick([escaped, escaped.replace(/%../g, (digits) => digits.toLowerCase())]);
  const fields = [`sr=${sr}`, `sig=${sig}`, `se=${se}`, ...random.pick([[], ['skn='], ['skn=service']])];
  fields.sort(() => random.pick([-1, 1]));
  return `SharedAccessSignature ${fields.join('&')}`;
}

function mutated(random: Prng, text: string): string {
  let result = text;
  for (let count = random.integer(1, 4); count > 0; count--) {
    const at = random.integer(0, result.length);
    const put = random.pick([
      '',
      random.text(1, ALPHABET),
      random.text(random.integer(0, 8), ALPHABET),
      result.slice(at, at + 9),
    ]);
    result = result.slice(0, at) + put + result.slice(at + random.integer(0, 3));
  }
  return random.chance(0.001) ? result + random.text(5_000, ALPHABET) : result;
}

/** An independent implementation of the rules: every accepted token must pass here too. */
function trulySigned(text: string, device: Device): boolean {
  const field = (name: string) => new RegExp(`[ &]${name}=([^&]*)`).exec(text)?.[1] ?? '';
  const [sr, se, sig] = [field('sr'), field('se'), decodeURIComponent(field('sig'))];
  const keys = [device.keys.primaryKey, device.keys.secondaryKey];
  const path = decodeURIComponent(decodeURIComponent(sr))
    .replace(/^[^/]*/, (host) => host.toLowerCase())
    .replace(/\/$/, '');
  return (
    field('skn') === '' &&
    keys.some((key) => signed(sr, se, key) === sig) &&
    Number(se) + SKEW >= NOW &&
    `${HOST}/devices/d1/`.startsWith(`${path}/`)
  );
}

/**
 * Passes `runs` tokens to an authenticator.
 * @throws Error, with the token, when one is wrongly accepted or refused, or fails with an error outside the error table
 */
export async function fuzzSasTokens(seed: number, runs: number): Promise<FuzzCounts> {
  const random = new Prng(seed);
  const device = newDevice(random);
  const get = async ({ deviceId }: Identity) => (deviceId === device.deviceId ? device : undefined);
  const authenticator = new Authenticator({
    registry: { get, lookup: async (identity) => ({ record: await get(identity), refused: async () => undefined }) },
    authorities: { list: async () => [] },
    policies: { lookup: async () => ({ record: undefined, refused: async () => undefined }) },
    audiences: [HOST],
    clock: { now: () => NOW * 1000, setTimer: () => ({ cancel() {} }) },
  });
  const counts: FuzzCounts = {};
  const kept = (await corpus('sas-token', 'refused')).flatMap((file) => file.toString('utf8').trim().split('\n'));
  for (const text of kept) {
    const target = { path: 'devices/d1', identity: { deviceId: 'd1' } };
    const outcome = await authenticator.authenticateSas(text, target).catch((error: CulvertError) => error.code);
    if (outcome !== 'unauthorized') throw new Error(`kept input: ${text}`, { cause: outcome });
  }
  for (let run = 0; run < runs; run++) {
    const clean = wellFormed(random, device);
    const text = random.chance(0.3) ? clean : mutated(random, clean);
    let outcome: string;
    try {
      await authenticator.authenticateSas(text, { path: 'devices/d1', identity: { deviceId: 'd1' } });
      outcome = 'taken';
      if (!trulySigned(text, device)) throw new Error('The token was accepted, but is not correctly signed.');
    } catch (error) {
      const known = error instanceof CulvertError && ['unauthorized', 'token_expired'].includes(error.code);
      if (!known) throw new Error(`seed ${seed}, run ${run}: ${JSON.stringify(text)}`, { cause: error });
      outcome = error.code;
      if (text === clean && trulySigned(text, device)) {
        throw new Error(`seed ${seed}, run ${run}, refused: ${JSON.stringify(text)}`, { cause: error });
      }
    }
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(100_000);
  console.log(`seed ${seed}:`, await fuzzSasTokens(seed, runs));
}
