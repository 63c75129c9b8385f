import { ERRORS, type ErrorCode } from '@culvert/protocol';
import type { HubEvent } from '../events.ts';
import type { LogEntry, LogProperties } from './log-entry.ts';

type Event<Type extends HubEvent['type']> = Extract<HubEvent, { type: Type }>;

/**
 * `deviceConnect`: a control channel was attached.
 * @param unrecorded the number of earlier connection events of the same identity that were not recorded, because there were too many
 */
export function attachedEntry(event: Event<'device-attached'>, now: number, unrecorded: number): LogEntry {
  return {
    ...ofIdentity(event),
    ...{ time: now, operation: 'deviceConnect', level: 'Information', error: undefined, durationMs: undefined },
    properties: {
      ...previewProperties(event, event, undefined),
      ...{ principal: event.principal, remoteAddress: event.remoteAddress, ...unrecordedProperty(unrecorded) },
    },
  };
}

/** `deviceDisconnect`: a control channel ended, after `connectedMs`. `unrecorded` as in {@link attachedEntry}. */
export function detachedEntry(event: Event<'device-detached'>, now: number, unrecorded: number): LogEntry {
  const { error, detail, connectedMs } = event;
  return {
    ...ofIdentity(event),
    ...{ time: now, operation: 'deviceDisconnect', error, durationMs: connectedMs },
    // When the hub stops, nothing is wrong with the device.
    level: error === 'draining' ? 'Information' : 'Warning',
    properties: {
      ...previewProperties(event, event, error),
      ...{
        principal: event.principal,
        remoteAddress: event.remoteAddress,
        error,
        detail,
        ...unrecordedProperty(unrecorded),
      },
    },
  };
}

/** `offersUnanswered`: a device with a live control channel does not answer offers. */
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
 * `connectionRefused`: a listener refused a connection, or the gateway refused a grant.
 * @param unrecorded the number of earlier events that were not recorded, because there were too many
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
      ...{ remoteAddress, error, detail, ...unrecordedProperty(unrecorded) },
    },
  };
}

function unrecordedProperty(unrecorded: number): { readonly unrecorded: number | undefined } {
  return { unrecorded: unrecorded === 0 ? undefined : unrecorded };
}

function ofIdentity({ deviceId, moduleId }: { deviceId: string; moduleId?: string | undefined }) {
  return { category: 'Connections', deviceId, moduleId, streamId: undefined, traceParent: undefined } as const;
}

/** The keys of Azure's log, in the same order. As in Azure's log, `authType` is a JSON string inside the JSON string. */
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

/** Masks the part of an address that identifies one machine: the last number of IPv4, everything after the first 48 bits of IPv6. */
export function maskedAddress(address: string): string {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return address.replace(/\d+$/, 'XXX');
  if (!address.includes(':')) return address;
  const groups = address.split('::', 1)[0] ?? '';
  return `${groups.split(':').slice(0, 3).join(':')}::XXX`;
}
