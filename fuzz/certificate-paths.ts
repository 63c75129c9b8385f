// This import must be first: the dependency injection inside x509 does not load without it.
import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import {
  type CertificateOptions,
  CLIENT_AUTHENTICATION,
  type DeviceCertificate,
  deviceCertificate,
  SERVER_AUTHENTICATION,
  type TestAuthority,
  testAuthority,
} from '@culvert/testkit';
import * as x509 from '@peculiar/x509';
import { findTrustAnchors } from '../packages/hub/src/auth/certificate-path.ts';
import { clientFault, clientUseFault, lifeFault } from '../packages/hub/src/auth/certificate-rules.ts';
import { fuzzArguments } from './arguments.ts';
import { openSslTakes } from './openssl-verdict.ts';
import { Prng } from './prng.ts';

// Fuzzes the path validation of device certificates and compares it with OpenSSL's. The chains are valid, or wrong in their key usage, validity,
// constraints, signatures or order. OpenSSL must accept every chain that the hub accepts; a chain that only OpenSSL accepts must contain something
// that the hub rejects on purpose.
// `node --conditions=development fuzz/certificate-paths.ts [--seed N] [--runs N]`

/** How often the hub and OpenSSL both accepted a chain, both rejected it, or only OpenSSL accepted it. */
export type FuzzCounts = Record<'both' | 'neither' | 'openssl', number>;

const HOUR_MS = 3_600_000;

/** A chain, and whether it contains something that the hub rejects but OpenSSL accepts. */
interface Chain {
  readonly device: DeviceCertificate;
  readonly authorities: readonly TestAuthority[];
  readonly excused: boolean;
}

const NAME_CONSTRAINTS = new x509.Extension('2.5.29.30', true, Buffer.from('300aa0083006820464657631', 'hex'));
const UNKNOWN = new x509.Extension('1.2.3.4', true, Buffer.from('0500', 'hex'));
const HARMLESS = new x509.Extension('1.2.3.5', false, Buffer.from('0500', 'hex'));

/** Random properties of a certificate in a chain; usually none. */
function oddity(random: Prng): CertificateOptions {
  if (random.chance(0.75)) return {};
  const now = Date.now();
  return random.pick<() => CertificateOptions>([
    () => ({ notAfter: new Date(now - HOUR_MS), notBefore: new Date(now - 2 * HOUR_MS) }),
    () => ({ notBefore: new Date(now + HOUR_MS) }),
    () => ({ usages: [SERVER_AUTHENTICATION] }),
    () => ({ usages: [SERVER_AUTHENTICATION, CLIENT_AUTHENTICATION] }),
    () => ({ usages: [] }),
    () => ({ ca: random.chance(0.5) }),
    () => ({ keyUsages: random.pick([1, 2, 4, 8, 32, 64, 96, 33]) as x509.KeyUsageFlags }),
    () => ({ hash: 'SHA-1' }),
    () => ({ extensions: [random.pick([NAME_CONSTRAINTS, UNKNOWN, HARMLESS])] }),
  ])();
}

async function makeChain(random: Prng): Promise<Chain> {
  const limited = () => (random.chance(0.2) ? { pathLength: random.integer(0, 2) } : {});
  const odd = oddity(random);
  const line = [{ odd, authority: await testAuthority('Root', { ...limited(), ...odd }) }];
  for (let depth = random.integer(0, 3); depth > 0; depth--) {
    const odd = oddity(random);
    const issuer = line[0]?.authority as TestAuthority;
    line.unshift({ odd, authority: await testAuthority(`Issuing ${depth}`, { issuer, ...limited(), ...odd }) });
  }
  const ofDevice = oddity(random);
  const device = await deviceCertificate('d1', { authority: line[0]?.authority as TestAuthority, ...ofDevice });
  const other = await testAuthority('Other');
  const registered = line.filter((_, at) => random.chance(at === line.length - 1 ? 0.8 : 0.15));
  const excused =
    ofDevice.usages?.length === 0 ||
    // OpenSSL accepts the certificate of an authority as a client certificate.
    ofDevice.ca === true ||
    [ofDevice, ...line.map(({ odd }) => odd)].some(({ extensions }) => extensions?.includes(NAME_CONSTRAINTS)) ||
    // OpenSSL checks neither dates nor key usage of a trust anchor that is not a root.
    registered.some(({ odd }) => odd.notBefore !== undefined || odd.usages !== undefined);
  const authorities = registered.map(({ authority }) => authority);
  if (random.chance(0.3)) authorities.push(other);
  const all = [...line.map(({ authority }) => authority), other];
  return { device: { ...device, cert: sent(random, device, all) }, authorities, excused };
}

/** The chain the device sends: usually everything between itself and the root, sometimes less, more, or in another order. */
function sent(random: Prng, { cert }: DeviceCertificate, all: readonly TestAuthority[]): string {
  if (random.chance(0.7)) return cert;
  const leaf = cert.slice(0, cert.indexOf('-----END CERTIFICATE-----') + 26);
  const some = all.map(({ certificate }) => certificate).filter(() => random.chance(0.7));
  return [leaf, ...some.toSorted(() => random.integer(-1, 1))].join('');
}

/** The hub's verdict, without the common name. */
function isTaken({ device, authorities }: Chain): boolean {
  const [client, ...others] = device.cert
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .filter((text) => text.trim() !== '')
    .map((text) => new X509Certificate(text));
  if (client === undefined) throw new Error('There is no certificate.');
  const now = Date.now();
  if ((lifeFault(client, now) ?? clientUseFault(client) ?? clientFault(client)) !== undefined) return false;
  const registered = authorities.map(({ certificate }) => new X509Certificate(certificate));
  return findTrustAnchors(client, { sent: others, authorities: registered, now }).length > 0;
}

/**
 * Compares `runs` chains.
 * @throws Error that names the failing case, with its certificates; the same seed makes the same case, with other keys
 */
export async function fuzzCertificatePaths(seed: number, runs: number): Promise<FuzzCounts> {
  const random = new Prng(seed);
  const counts: FuzzCounts = { both: 0, neither: 0, openssl: 0 };
  for (let run = 0; run < runs; run++) {
    const chain = await makeChain(random.fork());
    const here = isTaken(chain);
    const there = await openSslTakes(
      chain.device,
      chain.authorities.map(({ certificate }) => certificate),
    );
    if (here !== there && (here || !chain.excused)) {
      const who = here ? 'the hub' : 'OpenSSL';
      const trusted = chain.authorities.map(({ certificate }) => certificate).join('');
      throw new Error(`seed ${seed}, run ${run}: accepted only by ${who}.\n${chain.device.cert}\ntrusted:\n${trusted}`);
    }
    counts[here ? 'both' : there ? 'openssl' : 'neither']++;
  }
  return counts;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(2_000);
  process.stderr.write(`seed ${seed}, ${runs} runs\n`);
  process.stdout.write(`${JSON.stringify(await fuzzCertificatePaths(seed, runs), null, 2)}\n`);
}
