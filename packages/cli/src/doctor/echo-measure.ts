import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import type { ServiceClient } from '@culvert/service';
import type { Found } from './check.ts';
import { elapsedMs } from './network.ts';

type WebSocket = Awaited<ReturnType<ServiceClient['openWebSocket']>>;

/** Messages of 64 bytes that are sent and echoed, one after the other. */
const ROUND_TRIPS = 20;

/** Bytes sent to the echo service and compared: few, since the user may pay for the link by the byte. */
const LIGHT_BYTES = 16_384;

/** Bytes that are sent and echoed to measure the throughput. After `BULK_MS` milliseconds no further bytes are sent. */
const BULK_BYTES = 8_388_608;
const BULK_MS = 10_000;

/** Bytes of one message of the throughput measurement. */
const MESSAGE_BYTES = 65_536;

/** Bytes sent and not yet echoed: enough for 1 Gbit/s at 30 ms. */
const WINDOW_BYTES = 4_194_304;

/** Milliseconds that one message may take. */
const ANSWER_MS = 10_000;

/**
 * Measures an open stream to an echo service: the round trip to the device and, if requested, the throughput of echoed bytes. Every byte is compared.
 * @param gatewayMs the round trip to the gateway, see {@link measureGateway}; the difference is the time spent beyond the gateway. Undefined: not known
 * @param throughput true: sends 8 MiB each way; false: about 20 KiB
 */
export async function measureEcho(stream: Duplex, gatewayMs: number | undefined, throughput: boolean): Promise<Found> {
  const echo = new EchoReader(stream);
  const whole = median(await repeat(() => echo.roundTrip(randomBytes(64))));
  const bulk = await echo.bulk(throughput ? BULK_BYTES : LIGHT_BYTES);
  const behind = gatewayMs === undefined ? undefined : Math.max(0, round(whole - gatewayMs));
  const megabytes = round(bulk.bytes / 1e6 / (bulk.ms / 1000));
  const rate = throughput ? `; ${megabytes} MB/s there and back` : '';
  const parts =
    behind === undefined ? '' : ` (to the gateway ${gatewayMs} ms, from there to the device and its echo ${behind} ms)`;
  return {
    found: `round trip ${whole} ms${parts}${rate}`,
    data: {
      roundTripMs: whole,
      ...(gatewayMs === undefined || behind === undefined ? {} : { gatewayMs, beyondGatewayMs: behind }),
      bytes: bulk.bytes,
      ...(throughput ? { bytesPerSecond: Math.round((bulk.bytes * 1000) / bulk.ms) } : {}),
    },
  };
}

/** The round trip to the gateway in milliseconds: it answers pings itself. */
export async function measureGateway(socket: WebSocket): Promise<number> {
  return median(await repeat(() => ping(socket)));
}

async function repeat(measure: () => Promise<number>): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < ROUND_TRIPS; n++) times.push(await measure());
  return times;
}

async function ping(socket: WebSocket): Promise<number> {
  const started = performance.now();
  socket.ping();
  await once(socket, 'pong', { signal: AbortSignal.timeout(ANSWER_MS) });
  return elapsedMs(started);
}

/** Reads the echoed bytes and compares them with the sent ones. */
class EchoReader {
  readonly #stream: Duplex;
  /** Sent messages whose echo is incomplete; the first one counts from `#offset` on. Holds at most the window and one message. */
  readonly #expected: Buffer[] = [];
  #offset = 0;
  #bytes = 0;
  #wake: () => void = () => undefined;
  #failure: CulvertError | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('data', (data: Buffer) => this.#received(data));
    stream.on('error', (error) => this.#fail(`The stream ended: ${error.message}`));
    stream.once('close', () => this.#fail('The stream ended.'));
  }

  async roundTrip(message: Buffer): Promise<number> {
    const started = performance.now();
    this.#send(message);
    await this.#until(0, started + ANSWER_MS);
    return elapsedMs(started);
  }

  async bulk(bytes: number): Promise<{ bytes: number; ms: number }> {
    const started = performance.now();
    const message = randomBytes(Math.min(MESSAGE_BYTES, bytes));
    let sent = 0;
    while (sent < bytes && performance.now() < started + BULK_MS) {
      this.#send(message);
      sent += message.length;
      await this.#until(WINDOW_BYTES, started + BULK_MS + ANSWER_MS);
    }
    await this.#until(0, started + BULK_MS + ANSWER_MS);
    return { bytes: sent, ms: elapsedMs(started) };
  }

  #send(message: Buffer): void {
    this.#expected.push(message);
    this.#bytes += message.length;
    this.#stream.write(message);
  }

  /** Waits until at most `bytes` bytes are not yet echoed. */
  async #until(bytes: number, deadline: number): Promise<void> {
    const timer = setTimeout(() => this.#fail('The echo stopped.'), Math.max(0, deadline - performance.now()));
    try {
      while (this.#bytes > bytes) {
        if (this.#failure !== undefined) throw this.#failure;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#failure !== undefined) throw this.#failure;
    } finally {
      clearTimeout(timer);
    }
  }

  #received(data: Buffer): void {
    let rest = data;
    while (rest.length > 0) {
      const next = this.#expected[0]?.subarray(this.#offset) ?? Buffer.alloc(0);
      const part = rest.subarray(0, next.length);
      if (next.length === 0 || !part.equals(next.subarray(0, part.length))) {
        this.#fail('The bytes that came back are not those that were sent: is it an echo service?');
        return;
      }
      this.#offset += part.length;
      if (part.length === next.length) {
        this.#expected.shift();
        this.#offset = 0;
      }
      rest = rest.subarray(part.length);
    }
    this.#bytes -= data.length;
    this.#wake();
  }

  #fail(text: string): void {
    this.#failure ??= new CulvertError('stream_lost', text);
    this.#wake();
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
