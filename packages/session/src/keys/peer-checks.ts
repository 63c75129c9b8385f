import { CulvertError } from '@culvert/protocol';
import type { AuthorizedServices } from './authorized-services.ts';
import type { CertificateSubject } from './certificate-names.ts';
import type { Fingerprint } from './fingerprint.ts';
import { fleetFault } from './fleet-authority.ts';
import { keyChanged } from './known-devices.ts';
import { describePinned } from './known-devices-file.ts';
import type { LinkPeer } from './link-peer.ts';
import type { PinStore } from './pin-store.ts';

/** Decides whether the peer's key is accepted, as `secureLink` asks; throws CulvertError if not. */
export type PeerCheck = (peer: LinkPeer) => void | Promise<void>;

/** Which device is checked, and against which pins. */
export interface PinCheckOptions {
  readonly subject: CertificateSubject;
  readonly knownDevices: Pick<PinStore, 'checkOrPin'>;
  /** Called after a device's key was pinned at first use, so that the user can compare it. */
  readonly onFirstUse: (fingerprint: Fingerprint) => void;
}

/**
 * For the service side without a fleet authority: the device's key must be the pinned one. At first use it is pinned and accepted. The dates and names in
 * its certificate mean nothing.
 * @throws CulvertError from the check: `key_changed`; `key_refused` for a device without a key; errors of the file of pins
 */
export function pinCheck({ subject, knownDevices, onFirstUse }: PinCheckOptions): PeerCheck {
  return async ({ fingerprint }) => {
    if (fingerprint === undefined) throw new CulvertError('key_refused', 'The device has shown no key.');
    const found = await knownDevices.checkOrPin({ hub: subject.hub, ...subject.identity }, fingerprint);
    if (found.verdict === 'changed') throw keyChanged(found.pin, fingerprint);
    if (found.verdict === 'first-use') onFirstUse(fingerprint);
  };
}

/**
 * For the service side with a fleet authority: the device must have a certificate of it that names this device. Pins are not asked.
 * @throws CulvertError from the check: `key_refused`
 */
export function fleetDeviceCheck(subject: CertificateSubject): PeerCheck {
  return (peer) => {
    const fault = fleetFault(peer, 'device', subject);
    if (fault === undefined) return;
    const name = describePinned({ hub: subject.hub, ...subject.identity });
    throw new CulvertError('key_refused', `The key of ${name} is not accepted: its certificate ${fault}.`);
  };
}

/**
 * For the device with a list of authorised services: the service's key must be on it, or have a certificate of a listed authority that names this device.
 * @throws CulvertError from the check: `key_refused`. The message has the fingerprint, so that it can be added to the list
 */
export function authorizedServiceCheck(authorized: AuthorizedServices, subject: CertificateSubject): PeerCheck {
  return (peer) => {
    const { fingerprint } = peer;
    if (fingerprint === undefined)
      throw new CulvertError('key_refused', 'The device lists who may connect, and this end has shown no key.');
    if (authorized.fingerprints.has(fingerprint)) return;
    const fault = authorized.authorities.length === 0 ? undefined : fleetFault(peer, 'service', subject);
    if (authorized.authorities.length > 0 && fault === undefined) return;
    const detail = fault === undefined ? '' : `, and its certificate ${fault}`;
    throw new CulvertError(
      'key_refused',
      `The key ${fingerprint} is not among the device's authorised services${detail}.`,
    );
  };
}

/** For the device without such a list: any key, or none. */
export const anyServiceCheck: PeerCheck = () => {};

/**
 * For the second and every later link of a session, at both ends: the peer must have the key that it had on the first link.
 * @param first undefined when the peer had no key
 * @throws CulvertError from the check: `key_refused`
 */
export function sameKeyCheck(first: Fingerprint | undefined): PeerCheck {
  return ({ fingerprint }) => {
    if (fingerprint === first) return;
    const text = `This link has another key than the session's first link: ${fingerprint ?? 'none'} instead of ${first ?? 'none'}.`;
    throw new CulvertError('key_refused', text);
  };
}
