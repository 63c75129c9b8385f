import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS, type Side } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import { CLEAN_CLOSE, type CloseStatus, closeFrame, parseClose } from './close-frame.ts';
import { DRAIN_INTERVAL_MS, dataAfterEnd, EmptyMessages } from './empty-messages.ts';
import { OPCODE } from './frame-header.ts';
import { FrameReader } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import type { GatewayLimits } from './gateway-limits.ts';
import { Heartbeat } from './heartbeat.ts';
import { lingeringClose } from './lingering-close.ts';
import type { EndedBy, RelayPeerListener, RelayPeerOptions } from './relay-end-options.ts';
import { RemoteSocket } from './threads/remote-socket.ts';
import { ThrottledReader } from './throttled-reader.ts';

/**
 * One side of a stream at the gateway: a client's socket after the upgrade, with WebSocket framing. Until the other side
 * is connected it buffers up to 64 KiB of the client's frames, then pauses reading; pings are always answered.
 *
 * A client that did not offer `culvert.stream.v1` may end its direction without a close frame: a device by FIN between two messages, as Azure's
 * C devices do; a service by FIN after it was sent the device's end; both by 64 empty messages in a row.
 * A reset or a time-out is a lost connection for every client.
 */
export class RelayPeer {
  readonly side: Side;
  readonly remoteAddress: string;
  /** See {@link RelayPeerOptions.isV1}. */
  readonly isV1: boolean;
  /** Whether the last data of the stream came from this client, and not from the other side. */
  spokeLast = false;
  /** Resolves when the socket is closed; never rejects. */
  readonly closed: Promise<void>;

  readonly #socket: Duplex;
  readonly #clock: Clock;
  readonly #limits: GatewayLimits;
  readonly #reading: ThrottledReader;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #heartbeat: Heartbeat | undefined;
  #listener: RelayPeerListener;
  #destination: RelayPeer | undefined;
  #source: RelayPeer | undefined;
  /** Input from the client is ignored: its close frame came, it failed, or the gateway is ending it. */
  #inputEnded = false;
  #ended: CloseStatus | undefined;
  #endedBy: EndedBy | undefined;
  /** The connection is over for us, though the socket may not be closed. */
  #isGone = false;
  #onReceived: (() => void) | undefined;
  #emptyMessages: EmptyMessages | undefined;
  /** Payload bytes when its direction ended. */
  #receivedAtEnd = 0;
  /** Runs between two reads of a client that goes on after its end. */
  #drainTimer: Timer | undefined;
  #closeSent = false;
  #shared: Float64Array | undefined;
  /** The holder has let go of it: no more events. */
  #released = false;

  /** @param socket a socket whose upgrade was answered; its 'error' event must have a listener already */
  constructor(socket: Duplex, head: Buffer, options: RelayPeerOptions, listener: RelayPeerListener) {
    this.side = options.side;
    this.remoteAddress = options.remoteAddress;
    this.isV1 = options.isV1;
    this.#socket = socket;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#listener = listener;
    this.#reading = new ThrottledReader(socket, options.readScheduler);
    const { memory } = options;
    this.#reader = new FrameReader(
      {
        full: () => this.#onFull(),
        control: (opcode, payload) => this.#onControl(opcode, payload),
        emptyMessage: () => this.#onEmptyMessage(),
      },
      memory,
    );
    this.#writer = new FrameWriter(
      socket,
      {
        full: () => this.#source?.pause(),
        drained: () => this.#source?.resume(),
        stalled: () => this.#onStalled(),
      },
      { clock: options.clock, stallMs: options.limits.stallMs, memory },
    );
    if (options.isV1 && options.limits.pingMs > 0) {
      this.#heartbeat = new Heartbeat(options.clock, options.limits.pingMs, {
        ping: (frame, sent) => this.#ping(frame, sent),
        lost: () => this.#fail(new CulvertError('stream_lost')),
      });
    }
    this.closed = new Promise((resolve) => {
      const onClose = (): void => {
        this.#onSocketClosed();
        resolve();
      };
      // It may have left while its grant was verified.
      if (socket.destroyed) queueMicrotask(onClose);
      else socket.once('close', onClose);
    });
    // Before the listener, so that its events come in a later iteration, when the owner has this object.
    if (head.length > 0) socket.unshift(head);
    socket.on('end', this.#onSocketEnd);
    socket.on('data', this.#onData);
    if (socket instanceof RemoteSocket) {
      socket.receive = this.#onData;
    } else if (memory !== undefined) {
      this.#reading.reuseReadBuffer(memory.input, (length) => this.#onBytes(memory.input, length));
    }
  }

  /** Payload bytes of the whole frames the client sent. */
  get bytes(): number {
    return this.#reader.bytes;
  }

  /** Whole messages the client sent. */
  get messages(): number {
    return this.#reader.messages;
  }

  /** {@link bytes}, with each message counted as 64 at least: what limits count. */
  get countedBytes(): number {
    return this.#reader.countedBytes;
  }

  /** Payload bytes that the client sent, also of frames that are not whole. */
  get receivedBytes(): number {
    return this.#reader.receivedBytes;
  }

  /** What the client said when its direction ended; undefined until then. */
  get ended(): CloseStatus | undefined {
    return this.#ended;
  }

  get endedBy(): EndedBy | undefined {
    return this.#endedBy;
  }

  /** Whether the client's connection is over. */
  get left(): boolean {
    return this.#isGone || this.#socket.destroyed;
  }

  /** Whether the client has not taken everything that was written to it. */
  get isBusy(): boolean {
    return this.#writer.isBusy;
  }

  /** Bytes kept here of what the client sent and of what it has not taken yet, for tests that watch the bounds. */
  get bufferedBytes(): number {
    return this.#reader.output.bytes.length + this.#socket.readableLength + this.#socket.writableLength;
  }

  /** From now on {@link bytes} and {@link messages} are kept there too, for another thread to read. */
  countIn(shared: Float64Array | undefined): void {
    this.#shared = shared;
    this.#count();
  }

  /** From now on `received` is told whenever payload came. */
  watch(received: () => void): void {
    this.#onReceived = received;
  }

  /** From now on `listener` is told instead of the one before. */
  handTo(listener: RelayPeerListener): void {
    this.#listener = listener;
  }

  /** Sends to `destination` what the client sent so far and what it will send. */
  pipeTo(destination: RelayPeer): void {
    this.#destination = destination;
    destination.#source = this;
    if (destination.#closeSent) this.#reader.output.clear();
    else destination.#writer.takeFrom(this.#reader.output);
    if (destination.#writer.full) this.pause();
    else this.resume();
    if (!this.#inputEnded) this.#heartbeat?.start();
  }

  pause(): void {
    if (this.#released) return;
    this.#reading.pause();
    if (this.#heartbeat !== undefined) this.#heartbeat.paused = true;
  }

  resume(): void {
    if (this.#drainTimer !== undefined) return;
    this.#reading.resume();
    if (this.#heartbeat !== undefined) this.#heartbeat.paused = false;
  }

  /**
   * Sends a close frame after every frame before it; only the first one counts.
   * @param written called once the operating system has taken it
   */
  sendClose(status: CloseStatus, written: () => void = () => undefined): void {
    if (this.#closeSent) return;
    this.#closeSent = true;
    this.#writer.last(closeFrame(status), written);
  }

  /**
   * Ends the connection with a FIN, after what was written.
   * @param from when the client's `lingerMs` to end its own side begin
   */
  finish(from: 'now' | 'flushed'): void {
    if (this.#released && from === 'flushed') return;
    this.#release();
    lingeringClose(this.#socket, this.#clock, this.#limits.lingerMs, from);
  }

  /** Tells the client why with a close frame, then {@link finish}. */
  finishWith(error: CulvertError, from: 'now' | 'flushed'): void {
    this.sendClose({ code: error.row.close, reason: error.message });
    this.finish(from);
  }

  /** Cuts the connection. */
  destroy(): void {
    this.#release();
    this.#socket.destroy();
  }

  /** Discards what the client still sends; it is read within the read quota. */
  #release(): void {
    this.#released = true;
    if (this.#drainTimer === undefined) this.#reading.resume();
    this.#inputEnded = true;
    this.#heartbeat?.stop();
  }

  #ping(frame: Buffer, sent: () => void): void {
    if (!this.#closeSent) this.#writer.ping(frame, sent);
  }

  readonly #onData = (chunk: Buffer): void => this.#onBytes(chunk, chunk.length);

  #onBytes(chunk: Buffer, length: number): void {
    this.#reading.note(length);
    if (this.#heartbeat !== undefined) this.#heartbeat.received = true;
    if (this.#endedBy === 'empty messages') this.#drain(chunk, length);
    else if (!this.#inputEnded) this.#read(chunk, length);
  }

  #read(chunk: Buffer, length: number): void {
    const before = this.#reader.receivedBytes;
    if (!this.#parse(chunk, length)) return;
    if (this.#endedBy === 'empty messages') {
      this.#drained();
      return;
    }
    if (this.#onReceived !== undefined && this.#reader.receivedBytes > before) this.#onReceived();
    this.#pass();
  }

  /** Discards data after the end by empty messages: more of them, until the client disconnects. */
  #drain(chunk: Buffer, length: number): void {
    if (this.#released) this.#waitToDrain();
    else if (this.#parse(chunk, length)) this.#drained();
  }

  #parse(chunk: Buffer, length: number): boolean {
    try {
      this.#reader.read(chunk, length);
    } catch (error) {
      this.#fail(CulvertError.from(error));
      return false;
    }
    this.#count();
    return true;
  }

  #drained(): void {
    this.#reader.output.clear();
    this.#waitToDrain();
    if (this.#reader.receivedBytes === this.#receivedAtEnd) return;
    this.#fail(dataAfterEnd());
  }

  #waitToDrain(): void {
    this.#reading.pause();
    this.#drainTimer ??= this.#clock.setTimer(DRAIN_INTERVAL_MS, () => {
      this.#drainTimer = undefined;
      this.#reading.resume();
    });
  }

  #count(): void {
    if (this.#shared === undefined) return;
    this.#shared[0] = this.#reader.bytes;
    this.#shared[1] = this.#reader.messages;
    this.#shared[2] = this.#reader.countedBytes;
  }

  /** What came of whole frames goes on; without a destination it is kept. */
  #pass(): void {
    const { output } = this.#reader;
    const destination = this.#destination;
    if (destination === undefined) {
      output.settle();
      if (output.end >= LIMITS.frameBytes) this.pause();
    } else if (destination.#closeSent) {
      output.clear();
    } else if (output.end > 0) {
      if (destination.left) {
        output.clear();
        this.#listener.undeliverable();
        return;
      }
      this.spokeLast = true;
      destination.spokeLast = false;
      destination.#writer.offer();
    }
  }

  #onFull(): void {
    const destination = this.#destination;
    if (destination === undefined) return;
    if (destination.#closeSent) this.#reader.output.clear();
    else destination.#writer.spill();
  }

  #onControl(opcode: number, payload: Buffer): void {
    if (this.#inputEnded) return;
    if (opcode === OPCODE.ping) {
      if (!this.#closeSent) this.#writer.pong(payload);
    } else if (opcode === OPCODE.close) {
      this.#end(parseClose(payload), 'close');
    }
  }

  #onEmptyMessage(): void {
    if (this.isV1 || this.#inputEnded) return;
    this.#emptyMessages ??= new EmptyMessages();
    if (this.#emptyMessages.add(this.#clock.now(), this.#reader.receivedBytes))
      this.#end(CLEAN_CLOSE, 'empty messages');
  }

  #end(status: CloseStatus, by: EndedBy): void {
    this.#inputEnded = true;
    this.#ended = status;
    this.#endedBy = by;
    this.#receivedAtEnd = this.#reader.receivedBytes;
    this.#heartbeat?.stop();
    this.#listener.closing(status);
  }

  readonly #onSocketEnd = (): void => {
    if (this.#released) return;
    if (!this.#inputEnded) {
      if (this.#endsByFin()) this.#end(CLEAN_CLOSE, 'fin');
      else this.#fail(new CulvertError('stream_lost'));
    } else if (this.isV1 || this.#endedBy === 'empty messages') {
      // Only others may end their TCP with their close frame and still read.
      this.#leave();
    }
  };

  #endsByFin(): boolean {
    return !this.isV1 && this.#reader.isBetweenMessages && (this.side === 'device' || this.#closeSent);
  }

  #leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#listener.gone();
  }

  #onSocketClosed(): void {
    this.#writer.destroy();
    this.#heartbeat?.stop();
    this.#reader.output.settle();
    this.#drainTimer?.cancel();
    if (this.#released) return;
    if (this.#inputEnded) this.#leave();
    else this.#fail(new CulvertError('stream_lost'));
  }

  #onStalled(): void {
    if (this.#released) this.#socket.destroy();
    else this.#fail(new CulvertError('stalled'));
  }

  /** Also after the client's close frame: what still goes to it may stall. */
  #fail(error: CulvertError): void {
    if (this.#released) return;
    this.#inputEnded = true;
    this.#heartbeat?.stop();
    this.#listener.failed(error);
  }
}
