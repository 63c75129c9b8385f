import { request } from 'node:https';
import { isIP } from 'node:net';
import { performance } from 'node:perf_hooks';
import { connect, type DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { CulvertError, formatHostPort } from '@culvert/protocol';
import { networkError, OPEN_MS, type OutboundOptions, outboundAgent, stateKeepAlive } from '@culvert/stream';
import { elapsedMs } from './network.ts';

/** The results of one request to the hub: its answer, its certificate, and a proxy on the way. */
export interface HubProbe {
  readonly protocol: string;
  /** The hub's certificate first, then the certificates of its signers, as far as they are known. */
  readonly chain: readonly DetailedPeerCertificate[];
  /** Milliseconds from the start until the answer. */
  readonly ms: number;
  readonly status: number;
  /** The `Date` header, in ms since the epoch; undefined when there is none. */
  readonly date: number | undefined;
  readonly body: string;
}

/** Maximum milliseconds of the whole request. */
const ANSWER_MS = 20_000;

/** Bytes of an answer that are read; a hub's answer has about 200. */
const MAX_BODY = 65_536;

/**
 * Sends `GET /` over the same route as the SDKs. It needs no credential.
 * @throws CulvertError `untrusted`, with the signer of the certificate if the connection is direct; `unreachable`
 */
export async function probeHub(host: string, port: number, outbound: OutboundOptions): Promise<HubProbe> {
  const where = formatHostPort(host, port);
  const agent = await outboundAgent(new URL(`https://${where}`), outbound);
  try {
    return await ask(host, port, agent);
  } catch (reason) {
    const error = networkError(reason, where);
    const shown = error.code === 'untrusted' ? await shownCertificate(host, port) : undefined;
    if (shown === undefined) throw error;
    throw new CulvertError('untrusted', `${error.message} ${about(error, shown)}`, { cause: error.cause });
  } finally {
    agent.destroy();
  }
}

function ask(host: string, port: number, agent: Awaited<ReturnType<typeof outboundAgent>>): Promise<HubProbe> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const call = request({ host, port, agent, path: '/', method: 'GET', signal }, (response) => {
      const ms = elapsedMs(started);
      const { socket } = response;
      const tls = socket instanceof TLSSocket ? socket : undefined;
      const shown = {
        protocol: tls?.getProtocol() ?? '',
        chain: tls === undefined ? [] : chainOf(tls.getPeerCertificate(true)),
      };
      const date = Date.parse(response.headers.date ?? '');
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body = (body + text).slice(0, MAX_BODY);
      });
      response.on('error', reject);
      response.on('end', () =>
        resolve({ ...shown, ms, status: response.statusCode ?? 0, date: Number.isNaN(date) ? undefined : date, body }),
      );
    });
    call.on('error', (error) => {
      const late = error.name === 'TimeoutError' || signal.aborted;
      reject(late ? new CulvertError('unreachable', `There was no answer within ${ANSWER_MS / 1000} s.`) : error);
    });
    call.end();
  });
}

/** The fault of a refused certificate; the advice depends on it. */
export type CertificateFault = 'authority' | 'time' | 'name' | 'other';

/** @param error an `untrusted` error whose cause is the TLS error */
export function certificateFault({ cause }: CulvertError): CertificateFault {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return 'time';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'HOSTNAME_MISMATCH':
    case 'IP_ADDRESS_MISMATCH':
      return 'name';
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_UNTRUSTED':
    case 'CERT_SIGNATURE_FAILURE':
      return 'authority';
    default:
      return 'other';
  }
}

/** The part of a refused certificate that explains the refusal. For an intercepting proxy that is the signer's name. */
function about(error: CulvertError, chain: readonly DetailedPeerCertificate[]): string {
  const [leaf] = chain;
  switch (certificateFault(error)) {
    case 'time':
      return `It is valid from ${date(leaf?.valid_from)} to ${date(leaf?.valid_to)}; this clock says ${new Date().toISOString()}.`;
    case 'name':
      return `It is for ${(leaf?.subjectaltname ?? nameOf(leaf?.subject)).replaceAll(/(?:DNS|IP Address):/g, '') || '?'}.`;
    default:
      return `It is signed by '${nameOf(chain.at(-1)?.issuer)}'.`;
  }
}

function date(text: string | undefined): string {
  const time = Date.parse(text ?? '');
  return Number.isNaN(time) ? '?' : new Date(time).toISOString();
}

/** The chain of an untrusted certificate. No data is sent. */
function shownCertificate(host: string, port: number): Promise<readonly DetailedPeerCertificate[] | undefined> {
  return new Promise((resolve) => {
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    stateKeepAlive(socket, 'dialled');
    socket.setTimeout(OPEN_MS, () => socket.destroy());
    socket.once('secureConnect', () => {
      resolve(chainOf(socket.getPeerCertificate(true)));
      socket.destroy();
    });
    socket.on('error', () => resolve(undefined));
    socket.once('close', () => resolve(undefined));
  });
}

function chainOf(leaf: DetailedPeerCertificate): DetailedPeerCertificate[] {
  const chain: DetailedPeerCertificate[] = [];
  let next: DetailedPeerCertificate | undefined = leaf.fingerprint256 ? leaf : undefined;
  while (next !== undefined && !chain.includes(next) && chain.length < 16) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

/** The common name of a certificate's subject or issuer, or its organisation. */
export function nameOf(name: DetailedPeerCertificate['subject'] | undefined): string {
  const first = name?.CN ?? name?.O ?? '';
  return Array.isArray(first) ? first.join(', ') : first;
}
