import { CulvertError } from './errors.ts';
import { parseVersionRange, type VersionRange } from './session-negotiation.ts';

/**
 * The name of a device's announcement: a user property of the MQTT 5 CONNECT, a property of an AMQP streams link, and the subject of an AMQP
 * message that repeats it. MQTT 3.1.1 cannot carry it, and Azure's clients never send it.
 */
export const ANNOUNCEMENT_PROPERTY = 'culvert-announcement';

/** The topic to which an attached device publishes an announcement that replaces the former one (MQTT 5 only). */
export const ANNOUNCEMENT_TOPIC = '$iothub/culvert/announcement';

/** Maximum bytes of an announcement: room for 64 names of 60 characters; longer text is no announcement. */
export const MAX_ANNOUNCEMENT_BYTES = 4_096;

/** The version of the announcement's format. Text of another version is no announcement. */
const FORMAT_VERSION = 1;

/** What a device says of the sessions that it can serve inside a stream (docs/protocol/10-session.md). */
export interface SessionCapability extends VersionRange {
  /** Whether the device can encrypt a session end to end. */
  readonly encrypted: boolean;
}

/** What a device can do beyond the Azure protocol, by capability. An absent capability is not supported. */
export interface Announcement {
  readonly session?: SessionCapability | undefined;
}

/**
 * The announcement as JSON text.
 * @throws CulvertError `argument_invalid` when it is not valid or exceeds {@link MAX_ANNOUNCEMENT_BYTES}
 */
export function formatAnnouncement(announcement: Announcement): string {
  const text = JSON.stringify({ version: FORMAT_VERSION, ...announcement });
  if (parseAnnouncement(text) === undefined)
    throw new CulvertError('argument_invalid', 'The announcement of the device is not valid.');
  return text;
}

/**
 * Reads an announcement that came as text. Unknown capabilities are ignored. Undefined for anything malformed, of another version, or longer than
 * {@link MAX_ANNOUNCEMENT_BYTES}, and for a value that is not text, such as a property that was sent twice.
 */
export function parseAnnouncement(text: unknown): Announcement | undefined {
  if (typeof text !== 'string' || text.length > MAX_ANNOUNCEMENT_BYTES) return undefined;
  if (new TextEncoder().encode(text).length > MAX_ANNOUNCEMENT_BYTES) return undefined;
  const value = parseJson(text);
  if (!isObject(value) || value['version'] !== FORMAT_VERSION) return undefined;
  if (!Object.hasOwn(value, 'session')) return {};
  const session = parseSessionCapability(value['session']);
  return session === undefined ? undefined : { session };
}

function parseSessionCapability(value: unknown): SessionCapability | undefined {
  if (!isObject(value)) return undefined;
  const { encrypted } = value;
  const range = parseVersionRange(value['lowest'], value['highest']);
  return range === undefined || typeof encrypted !== 'boolean' ? undefined : { ...range, encrypted };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
