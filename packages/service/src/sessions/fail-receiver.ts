import { ConnectionDuplex, type SessionConnection, SocketRelay } from '@culvert/session';

/** Ends a connection with this error, through the receiver that this client gave it. */
export function failReceiver(events: SessionConnection['events'], error: Error): void {
  if (events instanceof ConnectionDuplex || events instanceof SocketRelay) events.fail(error);
}
