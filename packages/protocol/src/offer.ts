import type { Grant } from './grant.ts';
import { SESSION_PROPERTY } from './session-negotiation.ts';

/**
 * The fields of an offer that are Culvert extensions. They are sent as MQTT 5 user properties or AMQP application properties with the names
 * in {@link OFFER_PROPERTIES}. MQTT 3.1.1 cannot carry them, and other hubs do not send them.
 */
export interface OfferExtensions {
  /** The stream's id, which is also in the hub's logs. */
  readonly streamId?: string | undefined;
  /** The principal that requested the stream, such as `policy:service`. */
  readonly caller?: string | undefined;
  /** The `culvert-session` text of the service's request, sent only to a device that announced sessions; see `readSessionRequest`. */
  readonly session?: string | undefined;
  /** The services that the caller may open in the session, sent only with `session`; see `readOfferedServices`. */
  readonly services?: string | undefined;
  /** Milliseconds without a byte after which the hub ends the stream, sent only with `session` and if there is such a limit; see `readMilliseconds`. */
  readonly idleMs?: string | undefined;
}

/** A stream request that is offered to a device. The hub (for every transport) and the device SDK both use this type. */
export interface Offer extends OfferExtensions {
  readonly streamName: string;
  /** The device's grant. */
  readonly grant: Grant;
}

/** The name of each extension on the wire. */
export const OFFER_PROPERTIES = {
  streamId: 'culvert-stream-id',
  caller: 'culvert-caller',
  session: SESSION_PROPERTY,
  services: 'culvert-services',
  idleMs: 'culvert-idle-ms',
} as const satisfies Record<keyof OfferExtensions, string>;

const EXTENSIONS = Object.keys(OFFER_PROPERTIES) as (keyof OfferExtensions)[];

/** The extensions that are set in an offer, with their names on the wire. */
export function formatOfferExtensions(offer: OfferExtensions): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const extension of EXTENSIONS) {
    const value = offer[extension];
    if (value !== undefined) properties[OFFER_PROPERTIES[extension]] = value;
  }
  return properties;
}

/** Reads the extensions from the properties of a message: if a property is repeated, its first value; values that are not text are ignored. */
export function parseOfferExtensions(properties: Readonly<Record<string, unknown>> = {}): OfferExtensions {
  const extensions: { -readonly [Name in keyof OfferExtensions]: OfferExtensions[Name] } = {};
  for (const extension of EXTENSIONS) {
    const value: unknown = properties[OFFER_PROPERTIES[extension]];
    const first: unknown = Array.isArray(value) ? value[0] : value;
    if (typeof first === 'string') extensions[extension] = first;
  }
  return extensions;
}
