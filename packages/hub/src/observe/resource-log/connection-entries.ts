import { ERRORS, type ErrorCode } from '@culvert/protocol';
import type { HubEvent } from '../events.ts';
import type { LogEntry, LogProperties } from './log-entry.ts';

type Event<Type extends HubEvent['type']> = Extract<HubEvent, { type: Type }>;

/**
 * `deviceConnect`: a control channel is attached.
 * @param unrecorded how many connects and disconnects of the identity before it were not recorded, because there were too many
 */
export function attachedEntry(event: Event<'device-attached'>, now: number, unrecorded: number): LogEntry {
  return {
    ...ofIdentity(event),
    ...{ time: now, operation: 'deviceConnect', level: 'Information', error: undefined, durationMs: undefined },
    properties: {
      ...previewProperties(event, event, undefined),
      ...{ principal: event.principal, remoteAddress: event.remoteAddress, ...leftOut(unrecorded) },
    },
  };
}

/** `deviceDisconnect`: it is gone, after `connectedMs`. `unrecorded` as above. */
export function detachedEntry(event: Event<'device-detached'>, now: number, unrecorded: number): LogEntry {
  const { error, detail, connectedMs } = event;
  return {
    ...ofIdentity(event),
    ...{ time: now, operation: 'deviceDisconnect', error, durationMs: connectedMs },
    // The hub's own going is nothing that went wrong with the device.
    level: error === 'draining' ? 'Information' : 'Warning',
    properties: {
      ...previewProperties(event, event, error),
      ...{ principal: event.principal, remoteAddress: event.remoteAddress, error, detail, ...leftOut(unrecorded) },
    },
  };
}

/** `offersUnanswered`: a device that has its control channel does not answer. */
export function unansweredEntry(event: Event<'device-unresponsive'>, now: number): LogEntry {
  const { since, unanswered, principal, remoteAddress } = event;
  const error = 'device_silent';
  const detail = `The device is connected and has left ${unanswered} ${unanswered === 1 ? 'request' : 'requests'} unanswered since ${since}.`;
  return {
    ...ofIdentity(event),
    ...{ time: now, operation: 'offersUnanswered', level: 'Warning', error, durationMs: undefined },
    properties: {
      ...previewProperties(event, event, error),
      ...{ principal, remoteAddress, error, detail, since, unanswered },
    },
  };
}

/**
 * `connectionRefused`: somebody was not let in, at whatever listener.
 * @param unrecorded how many before it were not recorded, because there were too many
 */
export function refusedEntry(
  event: Event<'connection-refused'> | Event<'grant-refused'>,
  now: number,
  unrecorded: number,
): LogEntry {
  const { remoteAddress, error, detail } = event;
  const protocol = event.type === 'grant-refused' ? 'gateway' : event.listener;
  const claimed = event.type === 'connection-refused' ? event.claimed : undefined;
  return {
    ...{ category: 'Connections', deviceId: claimed?.deviceId, moduleId: claimed?.moduleId },
    ...{ streamId: undefined, traceParent: undefined, durationMs: undefined },
    ...{ time: now, operation: 'connectionRefused', level: 'Error', error },
    properties: {
      ...previewProperties(claimed ?? {}, { protocol, remoteAddress }, error),
      ...{ remoteAddress, error, detail, ...leftOut(unrecorded) },
    },
  };
}

function leftOut(unrecorded: number): { readonly unrecorded: number | undefined } {
  return { unrecorded: unrecorded === 0 ? undefined : unrecorded };
}

function ofIdentity({ deviceId, moduleId }: { deviceId: string; moduleId?: string | undefined }) {
  return { category: 'Connections', deviceId, moduleId, streamId: undefined, traceParent: undefined } as const;
}

/** Azure's own keys, in its order. `authType` is a JSON string inside the JSON string, as there. */
function previewProperties(
  { deviceId, moduleId }: { deviceId?: string; moduleId?: string | undefined },
  connection: {
    protocol: string;
    remoteAddress?: string | undefined;
    authentication?: string | undefined;
    clientVersion?: string | undefined;
  },
  error: ErrorCode | undefined,
): LogProperties {
  const { protocol, remoteAddress, authentication, clientVersion } = connection;
  const scope = moduleId === undefined ? 'device' : 'module';
  return {
    deviceId: deviceId ?? null,
    moduleId: moduleId ?? null,
    sdkVersion: clientVersion ?? null,
    protocol,
    authType:
      authentication === undefined
        ? null
        : JSON.stringify({ scope, type: authentication, issuer: 'iothub', acceptingIpFilterRule: null }),
    maskedIpAddress: remoteAddress === undefined ? null : maskedAddress(remoteAddress),
    statusCode: error === undefined ? null : String(ERRORS[error].azure[0]),
  };
}

/** An address without the part that names one machine: of IPv4 the last number, of IPv6 what follows the first 48 bits. */
export function maskedAddress(address: string): string {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return address.replace(/\d+$/, 'XXX');
  if (!address.includes(':')) return address;
  const groups = address.split('::', 1)[0] ?? '';
  return `${groups.split(':').slice(0, 3).join(':')}::XXX`;
}
