export { CLOSE_GRACE_MS, type Connect, type ConnectOptions, MAX_CONNECTIONS, startConnect } from './connect.ts';
export type { BoundService, ConnectEvent, LocalService, OpenStreamFunction } from './connect-events.ts';
export { type ConnectStdioOptions, connectStdio } from './stdio.ts';
