import * as https from 'node:https';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { InnerTls } from './inner-tls.ts';
import { knownSession, rememberSessions } from './tls-sessions.ts';

type Created = (error: Error | null, stream?: Duplex) => void;

/** An agent that connects directly, with keep-alive, and resumes TLS sessions that other agents of this process began. */
export class DirectAgent extends https.Agent {
  readonly #inner: InnerTls;

  constructor(inner: InnerTls) {
    super({ keepAlive: true, ...inner });
    this.#inner = inner;
  }

  override createConnection(options: https.RequestOptions, created: Created): Duplex | null | undefined {
    const { secureContext, servername = '' } = this.#inner;
    const server = { host: options.host ?? '', port: Number(options.port), servername };
    const session = knownSession(secureContext, server);
    const resuming: https.RequestOptions & { session?: Buffer } =
      session === undefined ? options : { ...options, session };
    const socket = super.createConnection(resuming, created);
    if (socket instanceof TLSSocket) rememberSessions(socket, secureContext, server);
    return socket;
  }
}
