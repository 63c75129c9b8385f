import type { ConnectionEvents, SessionConnection } from '../src/core/connection.ts';
import type { DeviceSession } from '../src/core/device-session.ts';
import { DeviceSessions, type DeviceSessionsOptions } from '../src/core/device-sessions.ts';
import type { ConnectionReason } from '../src/core/frame.ts';
import type { SessionEnd } from '../src/core/session-core.ts';
import type { World } from './virtual-world.ts';

/** A connection at the device whose program is the test. */
export class OpenedConnection implements ConnectionEvents {
  readonly connection: SessionConnection;
  received = 0;
  hasEnded = false;
  abortion: ConnectionReason | undefined;
  isFinished = false;

  constructor(connection: SessionConnection) {
    this.connection = connection;
    connection.events = this;
  }

  data(bytes: Uint8Array): void {
    this.received += bytes.length;
  }

  ended(): void {
    this.hasEnded = true;
  }

  drained(): void {
    // The test writes whatever it likes.
  }

  aborted(reason: ConnectionReason): void {
    this.abortion = reason;
  }

  finished(): void {
    this.isFinished = true;
  }
}

/** A device's sessions with the connections that were opened, in order. */
export class BareDevice {
  readonly sessions: DeviceSessions;
  readonly opened: OpenedConnection[] = [];
  readonly ends: SessionEnd[] = [];
  readonly refusedLinks: string[] = [];

  /** @param onOpened default: accepts */
  constructor(
    world: World,
    options: Partial<DeviceSessionsOptions> = {},
    onOpened: (opened: OpenedConnection, session: DeviceSession) => void = ({ connection }) => connection.accept(),
  ) {
    this.sessions = new DeviceSessions({
      environment: world.environment(),
      deviceId: 'press-7',
      moduleId: '',
      opened: (connection, session) => {
        const opened = new OpenedConnection(connection);
        this.opened.push(opened);
        onOpened(opened, session);
      },
      closed: (_session, end) => this.ends.push(end),
      linkRefused: (text) => this.refusedLinks.push(text),
      ...options,
    });
  }

  at(index: number): OpenedConnection {
    return this.opened[index] as OpenedConnection;
  }
}
