import { connect, createServer, type Server, type Socket } from 'node:net';

/** The two sockets of a connection through a relay. */
interface Relayed {
  readonly inbound: Socket;
  readonly outbound: Socket;
  /** Of the connection, from 0. */
  readonly number: number;
}

/** Bytes that a connection of the kit begins with: without them there is nothing to judge. */
const TAG_BYTES = 8;
/** Bytes that the relay `waits-for-more` collects before it passes them on. */
const COLLECTED_BYTES = 4_096;
/** Milliseconds after which the two impatient relays close. */
const PATIENCE_MS = 50;
/** Connections that `serves-thirty` serves in all. */
const MOST_EVER = 30;
/** Connections that `ten-at-once` serves at the same time. */
const MOST_AT_ONCE = 10;

/**
 * Relays for the kit's own tests: one that keeps every promise of TCP, and others that each break some on purpose. Each function joins
 * the two sockets of a new connection.
 */
const RELAYS = {
  right: join,

  /** Answers a half-close with a close. */
  'closes-at-half-close': (relayed: Relayed): void => {
    join(relayed);
    bothWays(relayed, (from) => from.on('end', () => from.end()));
  },

  /** Passes a half-close on, and closes soon after. */
  'half-open-timeout': (relayed: Relayed): void => {
    join(relayed);
    bothWays(relayed, (from) => from.on('end', () => setTimeout(() => from.end(), PATIENCE_MS)));
  },

  /** Forgets its last piece when a side ends. */
  'loses-last-bytes': (relayed: Relayed): void =>
    bothWays(relayed, (from, to) => {
      let last: Buffer | undefined;
      from.on('data', (piece: Buffer) => {
        if (last !== undefined) to.write(last);
        last = from.bytesRead > TAG_BYTES ? piece : undefined;
        if (last === undefined) to.write(piece);
      });
      from.on('end', () => to.end());
      from.on('error', () => to.resetAndDestroy());
    }),

  /** Turns resets and refusals into clean ends: it accepts before it knows whether the target does. */
  'reset-becomes-end': (relayed: Relayed): void =>
    bothWays(relayed, (from, to) => {
      from.pipe(to);
      from.on('error', () => to.end());
    }),

  /** Does nothing about resets. */
  'ignores-resets': (relayed: Relayed): void =>
    bothWays(relayed, (from, to) => from.pipe(to).on('error', () => undefined)),

  /** Reads on whether or not what it has read can be written. */
  'buffers-without-bound': (relayed: Relayed): void =>
    bothWays(relayed, (from, to) => {
      from.on('data', (piece: Buffer) => to.write(piece));
      from.on('end', () => to.end());
      from.on('error', () => to.resetAndDestroy());
    }),

  /** Passes bytes on when enough have come. */
  'waits-for-more': (relayed: Relayed): void =>
    bothWays(relayed, (from, to) => {
      let collected = Buffer.alloc(0);
      from.on('data', (piece: Buffer) => {
        collected = Buffer.concat([collected, piece]);
        if (from.bytesRead > TAG_BYTES && collected.length < COLLECTED_BYTES) return;
        to.write(collected);
        collected = Buffer.alloc(0);
      });
      from.on('end', () => to.end(collected));
      from.on('error', () => to.resetAndDestroy());
    }),

  /** Stops reading everywhere when one connection does not take more. */
  'stalls-together': stallsTogether(),

  /** Changes a byte on every seventh connection. */
  'wrong-bytes': (relayed: Relayed): void => {
    if (relayed.number % 7 === 6) {
      relayed.outbound.prependListener('data', (piece: Buffer) => {
        piece[0] = (piece[0] ?? 0) ^ 1;
      });
    }
    join(relayed);
  },

  /** Aborts what goes beyond a few connections at the same time. */
  'ten-at-once': tenAtOnce(),

  /** Counts the connections that have ended too, and serves no more than a limit. */
  'serves-thirty': (relayed: Relayed): void => {
    if (relayed.number < MOST_EVER) join(relayed);
    else relayed.inbound.resetAndDestroy();
  },

  /** Closes what is quiet. */
  'idle-timeout': (relayed: Relayed): void => {
    join(relayed);
    bothWays(relayed, (from) => from.setTimeout(PATIENCE_MS, () => from.end()));
  },
} satisfies Record<string, (relayed: Relayed) => void>;

export type RelayKind = keyof typeof RELAYS;

export function isRelayKind(name: string): name is RelayKind {
  return name in RELAYS;
}

/** A relay to a port of 127.0.0.1, not listening yet. */
export function createRelay(kind: RelayKind, targetPort: number): Server {
  let number = 0;
  return createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (inbound) => {
    const outbound = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    // A relay that does nothing about an error must not end by it.
    for (const socket of [inbound, outbound]) socket.on('error', () => undefined);
    const relayed = { inbound, outbound, number: number++ };
    const refuse = (): void => {
      if (kind === 'reset-becomes-end') inbound.end();
      else inbound.resetAndDestroy();
    };
    outbound.once('error', refuse).once('connect', () => {
      outbound.off('error', refuse);
      RELAYS[kind](relayed);
    });
  });
}

/** Bytes, ends and resets pass in both directions, each at the pace of its reader. */
function join(relayed: Relayed): void {
  bothWays(relayed, (from, to) => {
    from.pipe(to);
    from.on('error', () => to.resetAndDestroy());
  });
}

function bothWays({ inbound, outbound }: Relayed, oneWay: (from: Socket, to: Socket) => void): void {
  oneWay(inbound, outbound);
  oneWay(outbound, inbound);
  // It was paused until the target was reached.
  inbound.resume();
}

function stallsTogether(): (relayed: Relayed) => void {
  const reading = new Set<Socket>();
  const stalled = new Set<Socket>();
  const adjust = (): void => {
    for (const socket of reading) {
      if (stalled.size > 0) socket.pause();
      else socket.resume();
    }
  };
  return (relayed) => {
    bothWays(relayed, (from, to) => {
      reading.add(from);
      from.on('close', () => reading.delete(from));
      from.on('data', (piece: Buffer) => {
        if (to.write(piece)) return;
        stalled.add(to);
        adjust();
      });
      for (const event of ['drain', 'close'] as const) {
        to.on(event, () => {
          stalled.delete(to);
          adjust();
        });
      }
      from.on('end', () => to.end());
      from.on('error', () => to.resetAndDestroy());
    });
    adjust();
  };
}

function tenAtOnce(): (relayed: Relayed) => void {
  let open = 0;
  return (relayed) => {
    if (open === MOST_AT_ONCE) {
      relayed.inbound.resetAndDestroy();
      relayed.outbound.destroy();
      return;
    }
    open++;
    relayed.inbound.once('close', () => open--);
    join(relayed);
  };
}
