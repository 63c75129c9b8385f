import { CulvertError } from './errors.ts';
import { printable } from './ids.ts';

// How the ends agree on a session (docs/protocol/10-session.md): the service's request, the offer, the device's answer, and the reply. If any of
// the four says nothing of a session, the stream is raw. The hub passes these texts on and takes part in nothing else.

/**
 * The name under which a session is negotiated: a header of the stream request and of its reply, a property of the offer, and of the device's
 * answer. Over MQTT 5 these are user properties, over AMQP application properties.
 */
export const SESSION_PROPERTY = 'culvert-session';

/** Maximum characters of a `culvert-session` text: three times the longest of today, for keys that are added later. */
const MAX_SESSION_TEXT = 256;

/** The highest version of the session's protocol that can be named: one byte in HELLO. */
const MAX_VERSION = 255;

/** Maximum names in a list of services that a caller may open; a caller with more is told that it may open all, or nothing. */
export const MAX_OFFERED_SERVICES = 64;

/** Maximum characters of a service's name in the list: the longest name of a stream. */
const MAX_SERVICE_NAME = 128;

/** Versions of the session's protocol: whole numbers from 1 to 255, the lowest not above the highest. */
export interface VersionRange {
  readonly lowest: number;
  readonly highest: number;
}

/** What a service asks for, in the header `culvert-session` of a stream request; the offer repeats it. */
export interface SessionRequest extends VersionRange {
  /** The session's id: 32 lower-case hexadecimal digits. The same for every stream that carries the session. */
  readonly id: string;
  /** Whether the service wants the session to be encrypted end to end. */
  readonly encrypted: boolean;
}

/** What the device chose, in its answer; the reply to the service repeats it. */
export interface SessionAnswer {
  /** Within the ranges of both ends. */
  readonly version: number;
  readonly encrypted: boolean;
}

/**
 * Why a stream is raw although the service asked for a session: the device announced none (an older agent, or one with sessions off), only versions that
 * the service does not speak, or it answered without one.
 */
export type NoSession =
  | { readonly why: 'not_announced' }
  | ({ readonly why: 'versions' } & VersionRange)
  | { readonly why: 'declined' };

/** The services that a caller may open in a session: all of them, or those with these names, at most {@link MAX_OFFERED_SERVICES}. */
export type OfferedServices = '*' | readonly string[];

/** Whether `text` has the form of a session's id. */
export function isSessionId(text: unknown): text is string {
  return typeof text === 'string' && /^[0-9a-f]{32}$/.test(text);
}

/** The range from `lowest` to `highest`; undefined unless both are valid versions in this order. */
export function parseVersionRange(lowest: unknown, highest: unknown): VersionRange | undefined {
  if (!isVersion(lowest) || !isVersion(highest) || lowest > highest) return undefined;
  return { lowest, highest };
}

/** `id=…; lowest=1; highest=1; encrypted=1`. @throws CulvertError `argument_invalid` for a value that is not valid */
export function formatSessionRequest({ id, lowest, highest, encrypted }: SessionRequest): string {
  const text = `id=${id}; lowest=${lowest}; highest=${highest}; encrypted=${encrypted ? 1 : 0}`;
  if (readSessionRequest(text) === undefined)
    throw new CulvertError('argument_invalid', 'The session of a stream request is not valid.');
  return text;
}

/** Reads a request's text; undefined when it is malformed or not text. Unknown keys are ignored. */
export function readSessionRequest(text: unknown): SessionRequest | undefined {
  const fields = readFields(text);
  const id = fields?.get('id');
  const range = parseVersionRange(readVersion(fields?.get('lowest')), readVersion(fields?.get('highest')));
  const encrypted = readFlag(fields?.get('encrypted'));
  if (!isSessionId(id) || range === undefined || encrypted === undefined) return undefined;
  return { id, ...range, encrypted };
}

/** As {@link readSessionRequest}. @throws CulvertError `argument_invalid` when it is malformed */
export function parseSessionRequest(text: string): SessionRequest {
  const request = readSessionRequest(text);
  if (request !== undefined) return request;
  const form = 'id=32 hexadecimal digits; lowest=1; highest=1; encrypted=0 or 1';
  throw new CulvertError(
    'argument_invalid',
    `The header ${SESSION_PROPERTY} must be '${form}', not '${printable(text, 80)}'.`,
  );
}

/** `version=1; encrypted=1`. @throws CulvertError `argument_invalid` for a version that is not valid */
export function formatSessionAnswer({ version, encrypted }: SessionAnswer): string {
  if (!isVersion(version)) throw new CulvertError('argument_invalid', 'The version of a session is not valid.');
  return `version=${version}; encrypted=${encrypted ? 1 : 0}`;
}

/** Reads an answer's text; undefined when it is malformed or not text. Unknown keys are ignored. */
export function readSessionAnswer(text: unknown): SessionAnswer | undefined {
  const fields = readFields(text);
  const version = readVersion(fields?.get('version'));
  const encrypted = readFlag(fields?.get('encrypted'));
  return version === undefined || encrypted === undefined ? undefined : { version, encrypted };
}

/** `why=not-announced`, `why=versions; lowest=2; highest=3` or `why=declined`. */
export function formatNoSession(reason: NoSession): string {
  const why = `why=${reason.why.replace('_', '-')}`;
  return reason.why === 'versions' ? `${why}; lowest=${reason.lowest}; highest=${reason.highest}` : why;
}

/** Reads such a text; undefined when it is malformed, not text, or names another reason. Unknown keys are ignored. */
export function readNoSession(text: unknown): NoSession | undefined {
  const fields = readFields(text);
  const why = fields?.get('why');
  if (why === 'not-announced') return { why: 'not_announced' };
  if (why === 'declined') return { why };
  const range = parseVersionRange(readVersion(fields?.get('lowest')), readVersion(fields?.get('highest')));
  return why === 'versions' && range !== undefined ? { why, ...range } : undefined;
}

/** Whether every one of the ranges contains the version. */
export function isVersionWithin(version: number, ...ranges: readonly VersionRange[]): boolean {
  return ranges.every(({ lowest, highest }) => version >= lowest && version <= highest);
}

/** `*`, or a JSON array of names. @throws CulvertError `argument_invalid` for a list that is too long or has a name that is not valid */
export function formatOfferedServices(services: OfferedServices): string {
  if (services === '*') return services;
  if (services.length > MAX_OFFERED_SERVICES || !services.every(isServiceName))
    throw new CulvertError('argument_invalid', 'The list of services of an offer is not valid.');
  return JSON.stringify(services);
}

/** Reads `*` or a JSON array of names. A text that is malformed or too long permits no service: an empty list. */
export function readOfferedServices(text: string): OfferedServices {
  if (text === '*') return text;
  // Each character of a name takes at most two in JSON.
  if (text.length > MAX_OFFERED_SERVICES * (2 * MAX_SERVICE_NAME + 4)) return [];
  try {
    const names: unknown = JSON.parse(text);
    const isList = Array.isArray(names) && names.length <= MAX_OFFERED_SERVICES && names.every(isServiceName);
    return isList ? names : [];
  } catch {
    return [];
  }
}

/** Reads a number of milliseconds; undefined when the text is not a positive whole number. */
export function readMilliseconds(text: unknown): number | undefined {
  return typeof text === 'string' && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
}

/** The fields of `key=value; key=value`; undefined for text of another form, that is too long, or that has a key twice. */
function readFields(text: unknown): ReadonlyMap<string, string> | undefined {
  if (typeof text !== 'string' || text.length > MAX_SESSION_TEXT) return undefined;
  const fields = new Map<string, string>();
  for (const part of text.split(';')) {
    const [, key, value] = /^ *([a-z][a-z0-9-]*)=([A-Za-z0-9._~+/-]*) *$/.exec(part) ?? [];
    if (key === undefined || value === undefined || fields.has(key)) return undefined;
    fields.set(key, value);
  }
  return fields;
}

function readVersion(text: string | undefined): number | undefined {
  if (text === undefined || !/^[1-9]\d{0,2}$/.test(text)) return undefined;
  return isVersion(Number(text)) ? Number(text) : undefined;
}

function readFlag(text: string | undefined): boolean | undefined {
  return text === '1' ? true : text === '0' ? false : undefined;
}

function isVersion(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_VERSION;
}

/** The grammar of stream names, which name the services of an agent. */
function isServiceName(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9\-_.~:@!$'()*,;]{1,128}$/.test(value);
}
