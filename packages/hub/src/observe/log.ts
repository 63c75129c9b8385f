import { printable } from '@culvert/protocol';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { LogFormat, LogLevel } from '../config/log-format.ts';
import type { EventSink, HubEvent } from './events.ts';

/** The log level of an event. Events that unauthenticated clients can cause at any rate have a level below `info`. */
function levelOf(event: HubEvent): LogLevel {
  switch (event.type) {
    case 'connection-refused':
    case 'grant-refused':
    case 'connection-waiting':
    case 'stream-offered':
    case 'device-offers-changed':
    // A flood of requests causes one event per request; `culvert limits` shows the count.
    case 'limit-reached':
    // The earlier events of the stream already logged this content.
    case 'stream-ended':
    // The resource log contains what it says.
    case 'session-reported':
    // The audit log and the resource log contain each of these events.
    case 'stream-interrupted':
      return 'debug';
    case 'fault':
    case 'storage-failed':
    case 'log-failed':
    case 'audit-failed':
    case 'gateway-thread-failed':
      return 'error';
    case 'certificate-kept':
    case 'log-resumed':
    case 'audit-resumed':
    case 'gateway-thread-replaced':
    case 'gateway-without-webassembly':
    case 'identity-contested':
    case 'device-reconnects-too-often':
    case 'stream-failed':
    case 'device-unresponsive':
      return 'warn';
    default:
      return 'info';
  }
}

/** A sink that writes events to the log. Control characters in all strings are escaped, because some strings come from clients. */
export function logSink(options: { level: LogLevel; format: LogFormat; destination: DestinationStream }): EventSink {
  const logger =
    options.format === 'json'
      ? pino({ level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, options.destination)
      : textLogger(options);
  return (event) => {
    const { type, ...fields } = event;
    logger[levelOf(event)](safe(fields) as object, type);
  };
}

function textLogger(options: { level: LogLevel; destination: DestinationStream }): Logger {
  return pino(
    { level: options.level, base: null },
    {
      write: (line: string) => {
        const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
        const clock = new Date(time as number).toISOString();
        const mark = (level as number) >= 50 ? ' ERROR' : (level as number) >= 40 ? ' WARN' : '';
        const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
        options.destination.write(`${clock}${mark} ${String(msg)}${rest.join('')}\n`);
      },
    },
  );
}

function safe(value: unknown): unknown {
  if (typeof value === 'string') return printable(value, 1024);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, safe(inner)]));
}
