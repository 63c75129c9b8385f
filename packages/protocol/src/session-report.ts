import { CulvertError } from './errors.ts';
import { printable } from './ids.ts';
import { isSessionId } from './session-negotiation.ts';
import { cutUtf8 } from './utf8.ts';

// What an end of a session says of the connections in it (docs/protocol/10-session.md). The hub sees none of them, so all of it is a claim.

/** The topic to which a device publishes a report (MQTT 5 only). */
export const SESSION_REPORT_TOPIC = '$iothub/culvert/session-report';

/** The subject of an AMQP message that is a report. */
export const SESSION_REPORT_SUBJECT = 'culvert-session-report';

/** The limits of a report. */
export const SESSION_REPORT_LIMITS = {
  /** Maximum bytes of a report as JSON: a hundred connections of 350 bytes take half of it. */
  bytes: 65_536,
  /** Maximum connections in one report; an end that has more to say says it in the next one. */
  connections: 100,
  /** Milliseconds between two reports of one end of a session; the hub drops what comes sooner. */
  intervalMs: 10_000,
  /** Maximum bytes of UTF-8 of a service's name, as in the session's OPEN. */
  serviceBytes: 128,
  /** Maximum characters of a reason. */
  reasonCharacters: 64,
} as const;

/** One TCP connection in a session, as an end describes it. */
export interface ConnectionClaim {
  /** Its number in the session, 1 to 4,294,967,295. */
  readonly id: number;
  /** The name of the service that it leads to. */
  readonly service: string;
  /** When it was opened and closed, in milliseconds since the epoch. `closed` is absent while it is open. */
  readonly opened: number;
  readonly closed?: number | undefined;
  /** Payload bytes that the end which reports has sent and received. */
  readonly sent: number;
  readonly received: number;
  /** Why it was closed; absent if it ended normally. */
  readonly reason?: string | undefined;
}

/** A report of one end of a session. A connection that is closed is reported once more, with `closed`. */
export interface SessionReport {
  /** The session's id. */
  readonly session: string;
  readonly connections: readonly ConnectionClaim[];
}

/** @throws CulvertError `argument_invalid` for a report that is not valid or exceeds {@link SESSION_REPORT_LIMITS} */
export function formatSessionReport(report: SessionReport): string {
  const text = JSON.stringify(report);
  if (parseSessionReport(text) === undefined)
    throw new CulvertError('argument_invalid', 'The report of the session is not valid, or too long.');
  return text;
}

/** Reads a report as JSON text; undefined when it is malformed or exceeds the limits. */
export function parseSessionReport(text: string): SessionReport | undefined {
  const { bytes } = SESSION_REPORT_LIMITS;
  if (text.length > bytes || new TextEncoder().encode(text).length > bytes) return undefined;
  try {
    return readSessionReport(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/**
 * Reads a report that was parsed from JSON; undefined when it is malformed or has too many connections. Unknown fields are ignored. Control characters
 * in names and reasons are escaped, so that they are safe to show.
 */
export function readSessionReport(value: unknown): SessionReport | undefined {
  if (!isObject(value)) return undefined;
  const { session, connections } = value;
  if (!isSessionId(session) || !Array.isArray(connections)) return undefined;
  if (connections.length > SESSION_REPORT_LIMITS.connections) return undefined;
  const claims = connections.map(readClaim);
  return claims.every((claim) => claim !== undefined) ? { session, connections: claims } : undefined;
}

function readClaim(value: unknown): ConnectionClaim | undefined {
  if (!isObject(value)) return undefined;
  const { id, service, opened, closed, sent, received, reason } = value;
  if (!isWhole(id, 1, 0xffff_ffff) || typeof service !== 'string' || !isWhole(opened, 0, MAX_TIME)) return undefined;
  if (!isWhole(sent, 0) || !isWhole(received, 0)) return undefined;
  if (closed !== undefined && !isWhole(closed, opened, MAX_TIME)) return undefined;
  if (reason !== undefined && typeof reason !== 'string') return undefined;
  const { serviceBytes, reasonCharacters } = SESSION_REPORT_LIMITS;
  if (cutUtf8(service, serviceBytes) !== service || (reason ?? '').length > reasonCharacters) return undefined;
  return {
    ...{ id, service: printable(service), opened },
    ...(closed === undefined ? {} : { closed }),
    ...{ sent, received },
    ...(reason === undefined ? {} : { reason: printable(reason) }),
  };
}

/** The last time that a Date can be, in milliseconds since the epoch (ECMAScript §21.4.1.1). */
const MAX_TIME = 8_640_000_000_000_000;

function isWhole(value: unknown, least: number, most = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
