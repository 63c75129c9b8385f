import { createECDH, createPrivateKey, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { CERTIFICATE_HOST, MqttDevice, RestCaller, startHub, type TestHub } from '@culvert/testkit';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { damageDer, encodeDer, parseDer } from './der.ts';
import { openSslTakes } from './openssl-verdict.ts';
import { Prng } from './prng.ts';

// Fuzzes the handling of certificates. Damaged certificates, many of them signed again, are presented by devices in TLS and put at
// `/certificate-authorities`. For every input, the hub must answer without a fault, accept only devices whose certificates OpenSSL accepts too, and
// close the connections of the others; afterwards it must accept devices with valid certificates.
// `node --conditions=development fuzz/certificates.ts [--seed N] [--runs N]`

/** How often a certificate was accepted, or how it was rejected. */
export type FuzzCounts = Record<string, number>;

const BY_THUMBPRINT = 'by-thumbprint';
const BY_AUTHORITY = 'by-authority';

/** Milliseconds after which a connection that the hub has not ended counts as stuck; the hub itself takes up to two seconds to close. */
const STUCK_MS = 10_000;

/** A certificate of the corpus and its private key, which is no secret. */
interface Base {
  readonly der: Buffer;
  readonly key: KeyObject;
}

/** The private key of P-256 whose 32 bytes are all the same. */
function keyOf(byte: number): KeyObject {
  const secret = Buffer.alloc(32, byte);
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(secret);
  const point = ecdh.getPublicKey();
  const text = (bytes: Buffer) => bytes.toString('base64url');
  const key = { kty: 'EC', crv: 'P-256', d: text(secret), x: text(point.subarray(1, 33)), y: text(point.subarray(33)) };
  return createPrivateKey({ format: 'jwk', key });
}

const DEVICE_KEY = keyOf(7);
const AUTHORITY_KEY = keyOf(8);
const DEVICE_PEM = DEVICE_KEY.export({ type: 'pkcs8', format: 'pem' }).toString();

async function readBase(name: string, key: KeyObject): Promise<Base> {
  const [file] = await corpus('certificates', `${name}.`);
  if (file === undefined) throw new Error(`The corpus has no ${name}.`);
  return { der: Buffer.from(file.toString().replaceAll(/\s/g, ''), 'hex'), key };
}

const pem = (der: Buffer) =>
  `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;

/** The certificate with random changes, usually signed again by `signer`. */
function damaged(random: Prng, { der }: Base, signer: KeyObject): Buffer {
  const [certificate] = parseDer(der);
  if (certificate === undefined || Buffer.isBuffer(certificate.content)) throw new Error('The corpus is damaged.');
  const [body, , signature] = certificate.content;
  if (body === undefined || signature === undefined) throw new Error('The corpus is damaged.');
  damageDer(random, random.chance(0.9) ? body : certificate);
  if (random.chance(0.9)) signature.content = Buffer.concat([Buffer.alloc(1), sign('sha256', encodeDer(body), signer)]);
  const bytes = encodeDer(certificate);
  if (random.chance(0.9)) return bytes;
  bytes[random.integer(0, bytes.length - 1)] = random.integer(0, 255);
  return bytes;
}

/** One hub with two devices, under test. */
class Bench {
  readonly hub: TestHub;
  readonly #authority: Base;
  readonly #selfSigned: Base;
  readonly #device: Base;
  readonly #rest: RestCaller;
  readonly #inputs: readonly Buffer[];

  private constructor(hub: TestHub, bases: { authority: Base; selfSigned: Base; device: Base }, inputs: Buffer[]) {
    this.hub = hub;
    this.#authority = bases.authority;
    this.#selfSigned = bases.selfSigned;
    this.#device = bases.device;
    this.#rest = new RestCaller(hub);
    this.#inputs = inputs;
  }

  static async open(): Promise<Bench> {
    const bases = {
      authority: await readBase('authority', AUTHORITY_KEY),
      selfSigned: await readBase('self-signed', DEVICE_KEY),
      device: await readBase('device', DEVICE_KEY),
    };
    const hub = await startHub({ config: { mqttListen: '127.0.0.1:0', clientCertificates: ['mqttListen'] } });
    await hub.owner.authorities.add('root', pem(bases.authority.der));
    const primaryThumbprint = new X509Certificate(bases.selfSigned.der).fingerprint256.replaceAll(':', '');
    await hub.owner.devices.create(BY_THUMBPRINT, {
      authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint } },
    });
    await hub.owner.devices.create(BY_AUTHORITY, { authentication: { type: 'certificateAuthority' } });
    return new Bench(hub, bases, await corpus('certificates', 'put-'));
  }

  /** Presents a damaged certificate as one of the devices. */
  async show(random: Prng): Promise<string> {
    const deviceId = random.pick([BY_THUMBPRINT, BY_AUTHORITY]);
    for (let attempt = 0; attempt < 8; attempt++) {
      const [base, signer] =
        deviceId === BY_THUMBPRINT ? [this.#selfSigned, DEVICE_KEY] : [this.#device, AUTHORITY_KEY];
      const leaf = random.chance(0.02) ? base.der : damaged(random, base, signer);
      const others = random.chance(0.3) ? [random.pick([this.#authority, this.#device, this.#selfSigned]).der] : [];
      const chain = [leaf, ...others].map(pem).join('');
      let secureContext: SecureContext;
      try {
        secureContext = createSecureContext({ cert: chain, key: DEVICE_PEM });
      } catch {
        // OpenSSL cannot read this certificate, so it can neither send nor receive it: try another one.
        continue;
      }
      if (!(await this.connect(deviceId, secureContext))) return `refused ${deviceId}`;
      await this.#assertRight(deviceId, leaf, chain);
      return `let in ${deviceId}`;
    }
    return 'unreadable';
  }

  /** Whether the hub accepts the device. @throws Error when it keeps a connection open after rejecting it */
  async connect(deviceId: string, secureContext: SecureContext): Promise<boolean> {
    const port = this.hub.hub.mqttAddress?.port ?? 0;
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      servername: CERTIFICATE_HOST,
      secureContext,
      rejectUnauthorized: false,
    });
    const device = new MqttDevice(socket, 5);
    const answer = await device.connect(deviceId, { password: Buffer.alloc(0) }).catch(() => undefined);
    if (answer?.reasonCode === 0) {
      socket.destroy();
      await device.over;
      return true;
    }
    let stuck: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      stuck = setTimeout(() => reject(new Error('The hub does not end the connection.')), STUCK_MS);
    });
    await Promise.race([device.over, late]);
    clearTimeout(stuck);
    socket.destroy();
    return false;
  }

  /** Checks an accepted certificate against OpenSSL's verdict. */
  async #assertRight(deviceId: string, leaf: Buffer, chain: string): Promise<void> {
    const certificate = new X509Certificate(leaf);
    if (deviceId === BY_THUMBPRINT) {
      if (!leaf.equals(this.#selfSigned.der)) throw new Error('A certificate was accepted that is not registered.');
      return;
    }
    const taken = await openSslTakes({ cert: chain, key: DEVICE_PEM }, [pem(this.#authority.der)]);
    const named = certificate.toLegacyObject().subject.CN === BY_AUTHORITY;
    if (!taken || !named || !certificate.keyUsage?.includes('1.3.6.1.5.5.7.3.2'))
      throw new Error('A certificate was accepted that OpenSSL refuses, or that is not the device’s.');
  }

  /** Registers a damaged authority, and removes it again if it was accepted. */
  async put(random: Prng, run: number): Promise<string> {
    const kept = this.#inputs[run]?.toString('utf8');
    const text = kept ?? this.#authorityText(random);
    const { status, body } = await this.#rest.call('PUT', '/certificate-authorities/x', {
      body: { certificate: text },
    });
    if (status !== 200 && status !== 400) throw new Error(`The request was answered with ${status}: ${body}`);
    if (status === 400) return `put ${status}`;
    const listed = await this.#rest.call('GET', '/certificate-authorities');
    if (listed.status !== 200) throw new Error(`The list was answered with ${listed.status}.`);
    await this.hub.owner.authorities.remove('x');
    return `put ${status}`;
  }

  #authorityText(random: Prng): string {
    const text = pem(damaged(random, this.#authority, AUTHORITY_KEY));
    if (random.chance(0.8)) return text;
    const at = random.integer(0, text.length);
    return (
      text.slice(0, at) + random.text(random.pick([0, 1, 20]), 'A-\n =/+\0') + text.slice(at + random.integer(0, 3))
    );
  }

  /** @throws Error when the hub reported an internal error */
  async assertSound(): Promise<void> {
    const fault = this.hub.events.find(({ type }) => type === 'fault');
    if (fault !== undefined) throw new Error(JSON.stringify(fault));
  }

  async stop(): Promise<void> {
    await this.hub.stop();
  }

  /** @throws Error when the hub refuses a device with its undamaged certificate */
  async assertTaken(): Promise<void> {
    for (const [deviceId, { der }] of [
      [BY_THUMBPRINT, this.#selfSigned],
      [BY_AUTHORITY, this.#device],
    ] as const) {
      if (!(await this.connect(deviceId, createSecureContext({ cert: pem(der), key: DEVICE_PEM }))))
        throw new Error(`${deviceId} is refused with its own certificate.`);
    }
  }
}

/**
 * Sends `runs` certificates: registers every fourth as an authority, presents the others as a device.
 * @throws Error that names the failing case; the same seed fails again
 */
export async function fuzzCertificates(seed: number, runs: number): Promise<FuzzCounts> {
  const bench = await Bench.open();
  const random = new Prng(seed);
  const counts: FuzzCounts = {};
  try {
    for (let run = 0; run < runs; run++) {
      const one = random.fork();
      let outcome: string;
      try {
        outcome = run % 4 === 0 ? await bench.put(one, run / 4) : await bench.show(one);
        await bench.assertSound();
      } catch (error) {
        throw new Error(`seed ${seed}, run ${run}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
      counts[outcome] = (counts[outcome] ?? 0) + 1;
    }
    await bench.assertTaken();
  } finally {
    await bench.stop();
  }
  return counts;
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(5_000);
  process.stderr.write(`seed ${seed}, ${runs} runs\n`);
  process.stdout.write(`${JSON.stringify(await fuzzCertificates(seed, runs), null, 2)}\n`);
}
