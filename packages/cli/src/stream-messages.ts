import { type CulvertError, type ErrorCode, formatHostPort, identityName, printable } from '@culvert/protocol';
import type { AgentEvent } from '@culvert/proxy/agent';
import type { ConnectEvent } from '@culvert/proxy/connect';
import type { ServiceSessionEvent } from '@culvert/service';
import { advised, tellSoon } from './messages.ts';

/** How `agent` and `connect` report events: as text on stderr, or as JSON lines on stdout. */
export type EventFormat = 'text' | 'json';

/** Returns a function that reports the events of a proxy. */
export function eventTeller<E extends AgentEvent | ConnectEvent | ServiceSessionEvent>(
  format: EventFormat,
  sentence: (event: E) => string | undefined,
): (event: E) => void {
  if (format === 'json') {
    return (event) => {
      process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), ...plain(event) })}\n`);
    };
  }
  return (event) => {
    const text = sentence(event);
    if (text !== undefined) tellSoon(text);
  };
}

/** An event whose error is converted to a plain object, since JSON shows an error as `{}`. */
function plain(event: AgentEvent | ConnectEvent | ServiceSessionEvent): object {
  if (!('error' in event) || event.error === undefined) return event;
  const { code, message }: CulvertError = event.error;
  return { ...event, error: { code, message } };
}

/** An agent's event as a sentence. */
export function agentSentence(event: AgentEvent): string | undefined {
  switch (event.type) {
    case 'state':
      return stateSentence(event);
    case 'reloaded':
      return reloadedSentence(event);
    case 'reload-failed':
      return `not reloaded: ${clause(event.error.message)}; going on as before`;
    case 'reload-waits':
      return `the new connection is not there yet: ${clause(advised(event.error))}; the old one goes on until it is`;
    case 'stream-rejected':
      return `rejected a stream to '${printable(event.service)}'${asker(event.caller)}: ${event.reason}`;
    case 'stream-opened': {
      const { target } = event;
      const to = target === undefined ? 'this agent itself' : formatHostPort(target.host, target.port);
      return `[${event.id}] ${printable(event.service)} opened to ${to}${asker(event.caller)}`;
    }
    case 'stream-ended':
      return `[${event.id}] ${printable(event.service)} ended by ${event.endedBy === 'local' ? 'the local service' : 'the other side'}, ${sizes(event)}`;
    case 'stream-failed':
      return `[${event.id}] ${printable(event.service)} failed: ${event.error.message}`;
    case 'session-linked':
      return event.isFirst ? undefined : `${link(event)} is back; its connections go on`;
    case 'session-link-lost':
      return event.connections === 0 ? undefined : `${link(event)} is lost; ${waiting(event.connections)} for it`;
    case 'session-ended':
      return event.reason === 'done' || event.text === ''
        ? undefined
        : `the session with ${callerOf(event)} is over: ${clause(printable(event.text))}`;
    case 'unencrypted-refused':
      return `rejected a stream${asker(event.caller)}: ${clause(printable(event.text))}`;
    case 'no-session-key':
    case 'session-key':
      // A line at the start says so.
      return undefined;
    case 'session-link-refused':
      return `refused a link of ${callerOf(event)}: ${clause(event.text)}`;
  }
}

/** A service-local proxy's event as a sentence. */
export function connectSentence(event: ConnectEvent): string {
  switch (event.type) {
    case 'listening':
      return `${event.service} is at ${formatHostPort(event.host, event.port)}`;
    case 'stream-opened':
      return `[${event.id}] ${event.service} opened in ${event.openedInMs} ms`;
    case 'stream-ended':
      return `[${event.id}] ${event.service} ended by ${event.endedBy === 'local' ? 'the local program' : 'the device'}, ${sizes(event)}`;
    case 'stream-failed':
      return `[${event.id}] ${event.service} failed: ${advised(event.error)}`;
    case 'listener-failed':
      return `${event.service}: a connection could not be accepted: ${event.error.message}`;
  }
}

/** An event of a session with a device as a sentence; undefined for an end that nobody notices. */
export function sessionSentence(event: ServiceSessionEvent): string | undefined {
  const device = printable(identityName(event));
  switch (event.type) {
    case 'session-link-lost':
      return `the link to ${device} is lost; ${waiting(event.connections)} for it`;
    case 'session-link-regained':
      return `the link to ${device} is back after ${(event.lostForMs / 1000).toFixed(1)} s; connections go on`;
    case 'session-ended':
      return event.reason === 'done' || event.text === ''
        ? undefined
        : `the session with ${device} is over: ${clause(printable(event.text))}`;
    case 'session-link-refused':
      return `dropped a link to ${device}: ${clause(printable(event.text))}; connections wait for another`;
    case 'device-key-pinned':
      return `the key of ${device}, seen for the first time, is ${event.fingerprint}; it is kept, and another is refused from now on`;
    case 'unencrypted':
      return `warning: ${event.text}`;
  }
}

function link(event: { readonly caller: string }): string {
  return `the link to ${callerOf(event)}`;
}

/** A hub of another kind may not send the caller. */
function callerOf({ caller }: { readonly caller: string }): string {
  return caller === '' ? 'a service' : printable(caller);
}

function waiting(connections: number): string {
  return connections === 1 ? '1 connection waits' : `${connections} connections wait`;
}

function stateSentence({ state, error, retryInMs = 0 }: Extract<AgentEvent, { type: 'state' }>): string | undefined {
  if (state === 'attached') return 'attached to the hub';
  if (error === undefined || state === 'closed') return undefined;
  const again = `trying again in ${Math.ceil(retryInMs / 1000)} s, and for as long as it takes`;
  return `not attached: ${clause(error.message)}; ${hint(error.code)}${again}`;
}

/** Advice for errors whose own text does not help the agent's operator. */
function hint(code: ErrorCode): string {
  switch (code) {
    case 'taken_over':
      return 'if this repeats, two agents run with one identity: stop one of them, or give it an identity of its own; ';
    case 'unauthorized':
    case 'forbidden':
    case 'device_not_found':
      return 'the connection string is read again before each attempt; ';
    case 'device_disabled':
    case 'revoked':
      return 'it comes back when the hub lets it in; ';
    default:
      return '';
  }
}

function reloadedSentence(event: Extract<AgentEvent, { type: 'reloaded' }>): string {
  const { services, added, removed, connection } = event;
  const changes = [
    ...(added.length === 0 ? [] : [`new: ${added.join(', ')}`]),
    ...(removed.length === 0 ? [] : [`no longer: ${removed.join(', ')}`]),
    ...(connection ? ['connecting with the new settings'] : []),
  ];
  return `reloaded: offers ${services.join(', ')}${changes.length === 0 ? '' : ` (${changes.join('; ')})`}`;
}

/** A sentence without its end, for use inside another sentence. */
function clause(sentence: string): string {
  return sentence.replace(/[.]$/, '').replace(/; try again$/, '');
}

function asker(caller: string | undefined): string {
  return caller === undefined ? '' : ` for ${printable(caller)}`;
}

function sizes(event: {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
}): string {
  return `${event.bytesSent} bytes out, ${event.bytesReceived} in, ${(event.durationMs / 1000).toFixed(1)} s`;
}
