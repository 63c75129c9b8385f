import type { Duplex } from 'node:stream';
import { CulvertError, LIMITS, type Side } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { type CloseStatus, closeFrame, parseClose } from './close-frame.ts';
import { OPCODE } from './frame-header.ts';
import type { FrameMemory } from './frame-memory.ts';
import { FrameReader } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import { Heartbeat } from './heartbeat.ts';
import type { GatewayLimits } from './limits.ts';
import { lingeringClose } from './lingering-close.ts';
import { PacedReading } from './paced-reading.ts';
import type { ReadTurns } from './read-turns.ts';
import { RemoteSocket } from './threads/remote-socket.ts';

/** What an end tells whoever holds it. After {@link RelayEnd.finish} or {@link RelayEnd.destroy} it tells nothing more. */
export interface RelayEndListener {
  /** The client's close frame came, after all its frames. */
  closing(status: CloseStatus): void;
  /** The client was lost (`stream_lost`), broke the protocol (`protocol_error`) or takes nothing any more (`stalled`). Told once. */
  failed(error: CulvertError): void;
  /** The client's connection ended after its close frame. */
  gone(): void;
}

export interface RelayEndOptions {
  readonly side: Side;
  readonly remoteAddress: string;
  /** Whether the client declared that it copes with pings. */
  readonly pings: boolean;
  readonly clock: Clock;
  readonly limits: GatewayLimits;
  /** Where what is read and written lies; undefined does everything in ordinary buffers. */
  readonly memory: FrameMemory | undefined;
  /** What shares the event loop's turns among the connections that are read. */
  readonly turns: ReadTurns;
}

/**
 * One side of a stream at the gateway: a client's socket after the upgrade, spoken to in frames. Until it has a destination it
 * keeps up to 64 KiB of the client's frames, then it pauses the client; pings are answered all the time.
 */
export class RelayEnd {
  readonly side: Side;
  readonly remoteAddress: string;
  /** Resolves when the socket is closed; never rejects. */
  readonly closed: Promise<void>;

  readonly #socket: Duplex;
  readonly #clock: Clock;
  readonly #limits: GatewayLimits;
  readonly #reading: PacedReading;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #heartbeat: Heartbeat | undefined;
  #listener: RelayEndListener;
  #destination: RelayEnd | undefined;
  #source: RelayEnd | undefined;
  /** Nothing the client says counts any more: its close frame came, it failed, or it is being ended. */
  #deaf = false;
  #ended: CloseStatus | undefined;
  #closeSent = false;
  #shared: Float64Array | undefined;
  /** The holder has let go of it: no more events. */
  #released = false;

  /** @param socket a socket whose upgrade was answered; its 'error' event must have a listener already */
  constructor(socket: Duplex, head: Buffer, options: RelayEndOptions, listener: RelayEndListener) {
    this.side = options.side;
    this.remoteAddress = options.remoteAddress;
    this.#socket = socket;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#listener = listener;
    this.#reading = new PacedReading(socket, options.turns);
    const { memory } = options;
    this.#reader = new FrameReader(
      {
        full: () => this.#onFull(),
        control: (opcode, payload) => this.#onControl(opcode, payload),
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
    if (options.pings && options.limits.pingMs > 0) {
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
    // Before the listener: then it comes in a later turn, as everything must, when the holder knows this end.
    if (head.length > 0) socket.unshift(head);
    socket.on('end', this.#onSocketEnd);
    socket.on('data', this.#onData);
    if (socket instanceof RemoteSocket) {
      socket.receive = this.#onData;
    } else if (memory !== undefined) {
      this.#reading.readInto(memory.input, (length) => this.#onBytes(memory.input, length));
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

  /** Whether the client's close frame came or it failed. */
  get silent(): boolean {
    return this.#deaf;
  }

  /** What the client's close frame said, once it came. */
  get ended(): CloseStatus | undefined {
    return this.#ended;
  }

  /** Whether the client's connection is closed. */
  get left(): boolean {
    return this.#socket.destroyed;
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

  /** From now on `listener` is told instead of the one before. */
  handTo(listener: RelayEndListener): void {
    this.#listener = listener;
  }

  /** Sends to `destination` what the client sent so far and what it will send. */
  pipeTo(destination: RelayEnd): void {
    this.#destination = destination;
    destination.#source = this;
    if (destination.#closeSent) this.#reader.output.clear();
    else destination.#writer.takeFrom(this.#reader.output);
    if (destination.#writer.full) this.pause();
    else this.resume();
    if (!this.#deaf) this.#heartbeat?.start();
  }

  pause(): void {
    if (this.#released) return;
    this.#reading.pause();
    if (this.#heartbeat !== undefined) this.#heartbeat.deaf = true;
  }

  resume(): void {
    this.#reading.resume();
    if (this.#heartbeat !== undefined) this.#heartbeat.deaf = false;
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
   * Ends the connection politely, after what was written.
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

  /** What the client still sends is read and thrown away, in its turn. */
  #release(): void {
    this.#released = true;
    this.#reading.resume();
    this.#deaf = true;
    this.#heartbeat?.stop();
  }

  #ping(frame: Buffer, sent: () => void): void {
    if (!this.#closeSent) this.#writer.ping(frame, sent);
  }

  readonly #onData = (chunk: Buffer): void => this.#onBytes(chunk, chunk.length);

  #onBytes(chunk: Buffer, length: number): void {
    this.#reading.note(length);
    if (this.#heartbeat !== undefined) this.#heartbeat.heard = true;
    if (this.#deaf) return;
    try {
      this.#reader.read(chunk, length);
      this.#count();
    } catch (error) {
      this.#fail(CulvertError.from(error));
      return;
    }
    this.#pass();
  }

  #count(): void {
    if (this.#shared === undefined) return;
    this.#shared[0] = this.#reader.bytes;
    this.#shared[1] = this.#reader.messages;
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
    if (this.#deaf) return;
    if (opcode === OPCODE.ping) {
      if (!this.#closeSent) this.#writer.pong(payload);
    } else if (opcode === OPCODE.close) {
      const status = parseClose(payload);
      this.#deaf = true;
      this.#ended = status;
      this.#heartbeat?.stop();
      this.#listener.closing(status);
    }
  }

  readonly #onSocketEnd = (): void => {
    if (!this.#deaf) this.#fail(new CulvertError('stream_lost'));
  };

  #onSocketClosed(): void {
    this.#writer.destroy();
    this.#heartbeat?.stop();
    this.#reader.output.settle();
    if (this.#released) return;
    if (this.#deaf) this.#listener.gone();
    else this.#fail(new CulvertError('stream_lost'));
  }

  #onStalled(): void {
    if (this.#released) this.#socket.destroy();
    else this.#fail(new CulvertError('stalled'));
  }

  /** Also after the client's close frame: what still goes to it may stall. */
  #fail(error: CulvertError): void {
    if (this.#released) return;
    this.#deaf = true;
    this.#heartbeat?.stop();
    this.#listener.failed(error);
  }
}
