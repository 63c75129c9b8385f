import type { Grant } from './grant.ts';

/**
 * Fields of an offer that are Culvert extensions. Sent as MQTT 5 user properties or AMQP application properties, under the names in
 * {@link OFFER_PROPERTIES}. MQTT 3.1.1 cannot carry them, and other hubs do not send them.
 */
export interface OfferExtensions {
  /** The stream's id, as in the hub's logs. */
  readonly streamId?: string | undefined;
  /** The requester: the principal's name, such as `policy:service`. */
  readonly caller?: string | undefined;
}

/** A stream request as it is offered to a device: the one form of it in the hub, on every transport, and in the device SDK. */
export interface Offer extends OfferExtensions {
  readonly streamName: string;
  /** The device's grant. */
  readonly grant: Grant;
}

/** What each extension is called on the wire. */
export const OFFER_PROPERTIES = {
  streamId: 'culvert-stream-id',
  caller: 'culvert-caller',
} as const satisfies Record<keyof OfferExtensions, string>;

const EXTENSIONS = Object.keys(OFFER_PROPERTIES) as (keyof OfferExtensions)[];

/** The extensions of an offer that are set, under their names on the wire. */
export function formatOfferExtensions(offer: OfferExtensions): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const extension of EXTENSIONS) {
    const value = offer[extension];
    if (value !== undefined) properties[OFFER_PROPERTIES[extension]] = value;
  }
  return properties;
}

/** The extensions among the properties of a message: the first value of a repeated one; values that are not text are ignored. */
export function parseOfferExtensions(properties: Readonly<Record<string, unknown>> = {}): OfferExtensions {
  const extensions: { -readonly [Name in keyof OfferExtensions]: OfferExtensions[Name] } = {};
  for (const extension of EXTENSIONS) {
    const value: unknown = properties[OFFER_PROPERTIES[extension]];
    const first: unknown = Array.isArray(value) ? value[0] : value;
    if (typeof first === 'string') extensions[extension] = first;
  }
  return extensions;
}
