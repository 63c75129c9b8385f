import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { type Duplex, PassThrough } from 'node:stream';
import { RawWebSocket, rawFrame } from '@culvert/testkit';
import type { Cleanup } from '../cleanup.ts';
import type { HubProcess } from '../hub-process.ts';
import {
  type AzureControlChannel,
  type AzureRequest,
  type OpenControlChannel,
  type StreamAddress,
  streamAddress,
} from './control-channel.ts';

/** The differences between Azure's device clients after a request has arrived. */
export interface DeviceVariant {
  /** Whether the client answers before it opens the WebSocket (true) or after (false). */
  readonly answersFirst: boolean;
  /** Payload bytes of each frame that the client sends. */
  readonly frameBytes: number;
  /** Returns the complete upgrade request. */
  upgrade(address: StreamAddress, token: string): string;
  /** Bytes sent as soon as the WebSocket is open; empty for most clients. */
  readonly greeting: Buffer;
  /** Ends a stream whose local side has ended. */
  end(socket: RawWebSocket): void;
  /** The client's Close frame that answers the hub's; empty for a client that sends none. */
  readonly closeAnswer: Buffer;
}

/** A device's reaction to a request. */
export type Decision = 'accept' | 'reject' | 'ignore';

export interface AzureDeviceOptions {
  readonly open: OpenControlChannel;
  readonly variant: DeviceVariant;
  /** By default the device accepts all requests. */
  readonly decide?: (request: AzureRequest) => Decision;
  /** Port on 127.0.0.1 to which the device connects streams, as the proxy samples do; when absent, the device echoes the bytes it receives. */
  readonly target?: number;
}

/** A program that contains one of Azure's device clients, emulated at the wire level. */
export class AzureDevice {
  /** The events so far, in order: `request NAME`, `websocket open`, `answered true`, `close 1000 reason`, `connection lost`, … */
  readonly log: string[] = [];
  /** Inputs that would have crashed the real client or stopped its decoder; empty if the hub avoids the client's known bugs. */
  readonly crashes: string[] = [];
  /** The response heads of the client's upgrade requests. */
  readonly heads: string[] = [];
  /** The open streams. */
  readonly streams = new Set<RawWebSocket>();
  readonly #hub: HubProcess;
  readonly #options: AzureDeviceOptions;
  #channel: AzureControlChannel | undefined;

  private constructor(hub: HubProcess, options: AzureDeviceOptions) {
    this.#hub = hub;
    this.#options = options;
  }

  /** Starts the device; resolves when it accepts requests. At the end of the test the device drops its connections. */
  static async start(cleanup: Cleanup, hub: HubProcess, options: AzureDeviceOptions): Promise<AzureDevice> {
    const device = new AzureDevice(hub, options);
    cleanup.defer(device, () => device.drop());
    await device.#attach();
    return device;
  }

  get channel(): AzureControlChannel {
    if (this.#channel === undefined) throw new Error('the device is not connected');
    return this.#channel;
  }

  /** Renews the token as the client does: on the open connection over AMQP; over MQTT it drops the connection and connects again. */
  async renewToken(): Promise<void> {
    if (this.channel.renewToken !== undefined) return this.channel.renewToken();
    this.channel.drop();
    await this.channel.ended;
    await this.#attach();
  }

  /** Simulates a power failure of the device's machine: all connections are dropped. */
  drop(): void {
    this.#channel?.drop();
    for (const stream of this.streams) stream.reset();
  }

  async #attach(): Promise<void> {
    this.#channel = await this.#options.open((request, channel) => {
      this.#serve(request, channel).catch((error: Error) => this.crashes.push(error.message));
    });
  }

  async #serve(request: AzureRequest, channel: AzureControlChannel): Promise<void> {
    const { answersFirst } = this.#options.variant;
    const answer = async (accepted: boolean) => {
      await channel.answer(request, accepted);
      this.log.push(`answered ${accepted}`);
    };
    this.log.push(`request ${request.streamName}`);
    const decision = this.#options.decide?.(request) ?? 'accept';
    if (decision === 'ignore') return;
    if (decision === 'reject') return answer(false);
    if (answersFirst) await answer(true);
    const socket = await this.#open(request);
    if (socket === undefined) return;
    if (!answersFirst) await answer(true);
    await this.#relay(socket);
  }

  async #open(request: AzureRequest): Promise<RawWebSocket | undefined> {
    const { variant } = this.#options;
    const upgrade = variant.upgrade(streamAddress(request), request.token);
    const socket = await RawWebSocket.connect(request, { ca: this.#hub.ca, request: upgrade });
    this.streams.add(socket);
    void socket.closed.then(() => this.streams.delete(socket));
    const status = await socket.answer();
    this.heads.push(socket.head);
    this.log.push(status === 101 ? 'websocket open' : `websocket refused with ${status}`);
    if (status !== 101) return undefined;
    if (variant.greeting.length > 0) socket.send(variant.greeting);
    return socket;
  }

  async #relay(socket: RawWebSocket): Promise<void> {
    const { variant, target } = this.#options;
    const local: Duplex =
      target === undefined ? new PassThrough() : connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    local.on('error', () => undefined);
    local.on('data', (data: Buffer) => {
      for (let at = 0; at < data.length; at += variant.frameBytes)
        socket.send(rawFrame(2, data.subarray(at, at + variant.frameBytes), { mask: randomBytes(4) }));
    });
    local.on('end', () => variant.end(socket));
    for (let frame = await socket.frame(); frame !== undefined; frame = await socket.frame()) {
      if (frame.opcode === 8) {
        this.log.push(this.#closeFrame(frame.payload));
        local.destroy();
        socket.send(variant.closeAnswer);
        socket.socket.destroySoon();
        return;
      }
      // After a ping or pong, the C client does not decode the rest of the same TCP segment until more bytes arrive.
      if (frame.opcode === 9 || frame.opcode === 10) this.crashes.push('stops decoding after a ping or pong');
      else local.write(frame.payload);
    }
    this.log.push('connection lost');
    local.destroy();
  }

  #closeFrame(payload: Buffer): string {
    if (payload.length < 2) this.crashes.push('exit 139: a close frame without a code');
    return payload.length < 2 ? 'close' : `close ${payload.readUInt16BE(0)} ${payload.toString('utf8', 2)}`.trim();
  }
}
