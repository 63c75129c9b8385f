import { parseHostPort } from '@culvert/protocol';
import type { ControlProtocol } from '../listener.ts';
import type { LiveStream, StreamRecord } from '../stream-record.ts';
import { attributes, ERROR_STATUS, nanoseconds, type OtlpSpan, SERVER_SPAN } from './otlp-span.ts';
import { newSpanId, type TraceContext } from './trace-context.ts';

/**
 * Converts a handshake to one span, from the service's request until the stream was established or failed. The span's events mark
 * when the offer was sent, when the device answered it, and when the stream was established. Attributes have OpenTelemetry's names if it defines them;
 * the names of the others begin with `culvert.`.
 */
export function handshakeSpan(stream: LiveStream | StreamRecord, context: TraceContext): OtlpSpan {
  const failure = stream.establishedAt === undefined && 'cause' in stream ? stream : undefined;
  const endedAt = stream.establishedAt ?? failure?.endedAt ?? stream.requestedAt;
  return {
    traceId: context.traceId,
    spanId: newSpanId(),
    ...(context.parentSpanId === undefined ? {} : { parentSpanId: context.parentSpanId }),
    // OpenTelemetry requires span names of low cardinality, so the device is an attribute.
    name: 'culvert handshake',
    kind: SERVER_SPAN,
    startTimeUnixNano: nanoseconds(stream.requestedAt),
    endTimeUnixNano: nanoseconds(endedAt),
    attributes: attributes({
      'culvert.stream.id': stream.streamId,
      'culvert.stream.name': stream.streamName,
      'culvert.device.id': stream.deviceId,
      'culvert.module.id': stream.moduleId,
      'culvert.device.address': stream.answeredBy?.remoteAddress,
      'culvert.close_cause': failure?.cause,
      'user.name': stream.caller,
      'client.address': stream.callerAddress,
      ...serverOf(stream.gateway),
      ...transportOf(stream.answeredBy?.protocol),
      'error.type': failure === undefined ? undefined : (failure.error ?? failure.cause),
    }),
    events: eventsOf(stream),
    status: failure === undefined ? {} : { code: ERROR_STATUS, message: failure.detail },
  };
}

function eventsOf(stream: LiveStream): OtlpSpan['events'] {
  const times = { offered: stream.offeredAt, answered: stream.answeredAt, established: stream.establishedAt };
  return Object.entries(times).flatMap(([name, at]) =>
    at === undefined ? [] : [{ timeUnixNano: nanoseconds(at), name }],
  );
}

function serverOf(gateway: string): Record<string, string | number> {
  const { host, port } = parseHostPort(gateway, 443);
  return { 'server.address': host, 'server.port': port };
}

/** Attributes of the device's control channel, which carried the offer. */
function transportOf(protocol: ControlProtocol | undefined): Record<string, string | undefined> {
  return { 'network.protocol.name': protocol?.replace(/-ws$/, ''), 'culvert.control_channel': protocol };
}
