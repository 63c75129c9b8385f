import type { Duplex } from 'node:stream';
import { deviceCertificate, duplexPair, FakeClock, SERVER_AUTHENTICATION, type TestAuthority } from '@culvert/testkit';
import * as x509 from '@peculiar/x509';
import { type EndKey, generateEndKey, parseEndKey } from './end-key.ts';
import { deviceLinkContext, serviceLinkContext } from './link-context.ts';
import type { PeerCheck } from './peer-checks.ts';
import { anyServiceCheck } from './peer-checks.ts';
import { type SecureLink, type SecureLinkOptions, secureLink } from './secure-link.ts';

/** A new self-signed key. */
export function newKey(): EndKey {
  return parseEndKey(generateEndKey(), 'a test');
}

export interface FleetKeyOptions {
  readonly authority: TestAuthority;
  /** URIs in its subject alternative name. */
  readonly uris: readonly string[];
  /** Object identifiers of its extended key usage; default that of a device. */
  readonly usages?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A key with a certificate of an authority. */
export async function fleetKey({
  uris,
  usages = [SERVER_AUTHENTICATION],
  ...options
}: FleetKeyOptions): Promise<EndKey> {
  const names = uris.map((value) => ({ type: 'url' as const, value }));
  const extensions = uris.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)];
  const { cert, key } = await deviceCertificate('any name', { ...options, usages, extensions });
  return parseEndKey(`${key}\n${cert}`, 'a test');
}

/** What one end of {@link linkBoth} has. */
export interface TestEnd {
  readonly key?: EndKey | undefined;
  readonly authorities?: readonly string[];
  readonly check?: PeerCheck;
  readonly farewell?: SecureLinkOptions['farewell'];
}

/** Each end's link, or the error with which it failed. */
export interface BothEnds {
  readonly service: SecureLink | Error;
  readonly device: SecureLink | Error;
  /** The streams below the links. */
  readonly below: readonly [service: Duplex, device: Duplex];
}

const anyDevice: PeerCheck = () => {};

/** Encrypts a link between a service and a device in this process. */
export async function linkBoth(service: TestEnd, device: TestEnd & { readonly key: EndKey }): Promise<BothEnds> {
  const clock = new FakeClock();
  const below = duplexPair();
  const [serviceLink, deviceLink] = await Promise.all([
    outcome(
      secureLink(below[0], {
        clock,
        context: serviceLinkContext(contextOf(service)),
        checkPeer: service.check ?? anyDevice,
      }),
    ),
    outcome(
      secureLink(below[1], {
        clock,
        context: deviceLinkContext({ ...contextOf(device), key: device.key }),
        checkPeer: device.check ?? anyServiceCheck,
        ...(device.farewell && { farewell: device.farewell }),
      }),
    ),
  ]);
  return { service: serviceLink, device: deviceLink, below };
}

function contextOf({ key, authorities }: TestEnd) {
  return { key, ...(authorities && { authorities }) };
}

/** What a promise becomes: its value, or its error. */
export function outcome<T>(promise: Promise<T>): Promise<T | Error> {
  return promise.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
}

/** The links of both ends; fails when an end has none. */
export function established({ service, device }: BothEnds): { service: SecureLink; device: SecureLink } {
  if (service instanceof Error) throw service;
  if (device instanceof Error) throw device;
  return { service, device };
}

/** Destroys a stream with an error at the end of the event loop's turn, when no code of OpenSSL runs. */
export function fail(duplex: Duplex, error: Error): void {
  setImmediate(() => duplex.destroy(error));
}
