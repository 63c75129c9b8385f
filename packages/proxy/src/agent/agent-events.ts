import type { DeviceClientState } from '@culvert/device';
import type { CulvertError } from '@culvert/protocol';
import type { EndedBy } from '../local-relay.ts';

/** A TCP address the agent may connect to. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What the agent tells about one stream, from its offer on. */
interface OfferedStream {
  /** The stream's name: the service asked for. */
  readonly service: string;
  /** The hub's id of the stream, where the hub tells it. */
  readonly streamId: string | undefined;
  /** The caller, as the hub names it. */
  readonly caller: string | undefined;
}

/** What happens in an agent. Ids count from 1 for the life of the agent. */
export type AgentEvent =
  /**
   * The state of the connection to the hub: reported once per change of reason, not once per attempt. `retryInMs`: milliseconds until the
   * next attempt, after which the waits grow.
   */
  | {
      readonly type: 'state';
      readonly state: DeviceClientState;
      readonly error: CulvertError | undefined;
      readonly retryInMs?: number;
    }
  /** New services or a new connection are in use. */
  | {
      readonly type: 'reloaded';
      /** What is offered from now on. */
      readonly services: readonly string[];
      readonly added: readonly string[];
      readonly removed: readonly string[];
      /** Whether the agent opens a new connection, with another connection string, certificate, CA or proxy. */
      readonly connection: boolean;
    }
  /** The new connection cannot be used, or the connection string is invalid: the old connection goes on. */
  | { readonly type: 'reload-failed'; readonly error: CulvertError }
  /** The new connection is not established yet; the old one goes on until it is. */
  | { readonly type: 'reload-waits'; readonly error: CulvertError }
  | ({ readonly type: 'stream-rejected'; readonly reason: string } & OfferedStream)
  /** `target` is undefined for the agent's own echo. */
  | ({ readonly type: 'stream-opened'; readonly id: number; readonly target: Target | undefined } & OfferedStream)
  | ({
      readonly type: 'stream-ended';
      readonly id: number;
      /** Which side ended it: `local` is this device's program, `remote` the service. */
      readonly endedBy: EndedBy;
      /** Bytes from the local target into the stream. */
      readonly bytesSent: number;
      /** Bytes from the stream to the local target. */
      readonly bytesReceived: number;
      readonly durationMs: number;
    } & OfferedStream)
  | ({ readonly type: 'stream-failed'; readonly id: number; readonly error: CulvertError } & OfferedStream);
