import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { formatOfferTopic, OFFER_PROPERTIES, SESSION_PROPERTY, STREAM_HEADERS } from '@culvert/protocol';
import { type ScriptedChannel, ScriptedHub } from '@culvert/testkit';
import type { WebSocket } from 'ws';

/** What a hostile hub does to a negotiation and to the bytes of a link. Each member is asked for every stream; `link` counts streams from 1. */
export interface Tampering {
  /** The session's text in the offer, made from that of the request; undefined: none. */
  offer?: (request: string | undefined, link: number) => string | undefined;
  /** The session's text in the reply, made from that of the device's answer; undefined: none. */
  reply?: (answer: string | undefined, link: number) => string | undefined;
  /** What is passed on instead of a message. Default the message itself. */
  relay?: (message: Buffer, from: Side, link: number, index: number) => readonly Buffer[];
  /** Takes the service's connection of a stream away from the device. */
  intercept?: (socket: WebSocket, link: number) => boolean;
}

export type Side = 'service' | 'device';

/** A hub that passes on requests, offers, answers and bytes of one device, and changes them as a test says. */
export class HostileHub {
  readonly scripted: ScriptedHub;
  tampering: Tampering = {};
  /** Streams so far. */
  links = 0;
  /** All bytes that it has relayed. */
  readonly seen: Buffer[] = [];
  readonly #sockets = new Map<string, WebSocket>();
  readonly #numbers = new Map<string, number>();
  readonly #answers = new Map<string, (answer: { accepted: boolean; reason: string; session?: string }) => void>();
  #channel: ScriptedChannel | undefined;

  private constructor(scripted: ScriptedHub) {
    this.scripted = scripted;
  }

  static async start(): Promise<HostileHub> {
    let hub: HostileHub | undefined;
    const scripted = await ScriptedHub.start({
      onRequest: (request, response) => {
        if (hub !== undefined) void hub.#request(request, response);
      },
      onStream: (socket, request) => {
        if (hub !== undefined) hub.#stream(socket, request.url ?? '');
      },
    });
    hub = new HostileHub(scripted);
    return hub;
  }

  /** Accepts the device. */
  async welcome(): Promise<void> {
    const channel = await this.scripted.channel();
    await channel.welcome();
    this.#channel = channel;
    // Ends when the device disconnects.
    this.#takeAnswers(channel).catch(() => undefined);
  }

  /** Ends all links, as a network does. */
  cutLinks(): void {
    for (const socket of this.#sockets.values()) socket.terminate();
  }

  async #request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, name = ''] = /\/streams\/([^?/]+)/.exec(request.url ?? '') ?? [];
    const streamId = randomBytes(16).toString('hex');
    this.links++;
    const link = this.links;
    this.#numbers.set(streamId, link);
    const asked = request.headers[SESSION_PROPERTY];
    const text = typeof asked === 'string' ? asked : undefined;
    const { offer = (same) => same, reply = (same) => same } = this.tampering;
    const session = offer(text, link);
    const answered = new Promise<{ accepted: boolean; reason: string; session?: string }>((resolve) =>
      this.#answers.set(`${link}`, resolve),
    );
    const url = this.scripted.streamUrl(streamId, 'device');
    this.#channel?.publish(formatOfferTopic({ streamName: name, requestId: `${link}`, url, token: 'grant' }), {
      [OFFER_PROPERTIES.caller]: 'policy:service',
      ...(session === undefined ? {} : { [OFFER_PROPERTIES.session]: session, [OFFER_PROPERTIES.services]: '*' }),
    });
    const answer = await answered;
    const chosen = reply(answer.session, link);
    response.writeHead(200, {
      [STREAM_HEADERS.isAccepted]: answer.accepted ? 'True' : 'False',
      [STREAM_HEADERS.url]: this.scripted.streamUrl(streamId, 'service'),
      [STREAM_HEADERS.token]: 'grant',
      ...(answer.reason === '' ? {} : { [STREAM_HEADERS.rejectReason]: encodeURIComponent(answer.reason) }),
      ...(chosen === undefined ? {} : { [STREAM_HEADERS.session]: chosen }),
    });
    response.end();
  }

  async #takeAnswers(channel: ScriptedChannel): Promise<void> {
    for (;;) {
      const { topic, payload, properties } = await channel.take('publish');
      const [, status, id = ''] = /^\$iothub\/streams\/res\/(\d+)\/\?\$rid=(\w+)$/.exec(topic) ?? [];
      const session = properties?.userProperties?.[SESSION_PROPERTY];
      const answer = { accepted: status === '200', reason: String(payload) };
      this.#answers.get(id)?.(typeof session === 'string' ? { ...answer, session } : answer);
    }
  }

  #stream(socket: WebSocket, path: string): void {
    const [, streamId = '', side = ''] = /\/bridges\/(\w+)\/(\w+)/.exec(path) ?? [];
    const link = this.#numbers.get(streamId) ?? 0;
    if (side === 'service' && this.tampering.intercept?.(socket, link) === true) return;
    const from = side as Side;
    const other = `${streamId} ${from === 'service' ? 'device' : 'service'}`;
    const waiting: Buffer[] = [];
    let index = 0;
    const send = (message: Buffer): void => {
      const peer = this.#sockets.get(other);
      if (peer === undefined) waiting.push(message);
      else peer.send(message);
    };
    socket.on('message', (message: Buffer) => {
      this.seen.push(message);
      const { relay = (same) => [same] } = this.tampering;
      for (const part of relay(message, from, link, index++)) send(part);
    });
    socket.on('close', () => this.#sockets.get(other)?.terminate());
    this.#sockets.set(`${streamId} ${from}`, socket);
    const peer = this.#sockets.get(other);
    peer?.emit('peer');
    socket.once('peer', () => {
      for (const message of waiting.splice(0)) send(message);
    });
  }
}
