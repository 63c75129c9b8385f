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

/** What tells one device client of Azure from another, once a request has come. */
export interface DeviceVariant {
  /** Whether it answers before it opens the WebSocket, or after. */
  readonly answersFirst: boolean;
  /** Bytes of payload of the frames it sends. */
  readonly frameBytes: number;
  /** The whole upgrade request. */
  upgrade(address: StreamAddress, token: string): string;
  /** Bytes sent as soon as the WebSocket is open; empty for most. */
  readonly greeting: Buffer;
  /** How it ends a stream whose local side has ended. */
  end(socket: RawWebSocket): void;
  /** Its own Close after the hub's; empty for one that goes without. */
  readonly closeAnswer: Buffer;
}

/** What a device does with a request. */
export type Decision = 'accept' | 'reject' | 'ignore';

export interface AzureDeviceOptions {
  readonly open: OpenControlChannel;
  readonly variant: DeviceVariant;
  /** Accepts all by default. */
  readonly decide?: (request: AzureRequest) => Decision;
  /** Port on 127.0.0.1 that it connects streams to, as the proxy samples do; absent, it sends back what comes. */
  readonly target?: number;
}

/** A program with one of Azure’s devices client in it, played on the wire. */
export class AzureDevice {
  /** What happened, in order: `request NAME`, `websocket open`, `answered true`, `close 1000 reason`, `connection lost`, … */
  readonly log: string[] = [];
  /** What would have crashed the real client or stopped it decoding; empty if the hub respects its faults. */
  readonly crashes: string[] = [];
  /** The heads of the answers to its upgrades. */
  readonly heads: string[] = [];
  /** Its open streams. */
  readonly streams = new Set<RawWebSocket>();
  readonly #hub: HubProcess;
  readonly #options: AzureDeviceOptions;
  #channel: AzureControlChannel | undefined;

  private constructor(hub: HubProcess, options: AzureDeviceOptions) {
    this.#hub = hub;
    this.#options = options;
  }

  /** Starts it; resolves when it takes requests. It ends with the test, by dropping what it holds. */
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

  /** Goes on with a new token as its client does: in place over AMQP; over MQTT it drops the connection and connects again. */
  async renewToken(): Promise<void> {
    if (this.channel.renewToken !== undefined) return this.channel.renewToken();
    this.channel.drop();
    await this.channel.ended;
    await this.#attach();
  }

  /** The machine loses its power. */
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
      // The C client leaves what shares a segment with one of these until more bytes come.
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
