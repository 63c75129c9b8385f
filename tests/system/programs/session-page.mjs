// A page's module: both ends of a session in one browser page, over wires in memory. `runSession()` resolves with what was seen.
import { Budget, DeviceSessions, ServiceSession } from '@culvert/session/core';

const TOTAL_BYTES = 1_048_576;
const PIECE_BYTES = 10_000;
/** Bytes that must have come back before the link is cut. */
const CUT_AT_BYTES = 400_000;

let hmacs = 0;
let hmacsAtOnce = 0;

/** What the session needs from outside: WebCrypto's HMAC comes in a later task, never at once. */
const environment = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimer(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  defer: (callback) => queueMicrotask(callback),
  random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
  jitter: () => Math.random(),
  hmac(key, data, done) {
    let isLater = false;
    hmacs++;
    crypto.subtle
      .importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
      .then((imported) => crypto.subtle.sign('HMAC', imported, data))
      .then((mac) => {
        if (!isLater) hmacsAtOnce++;
        done(new Uint8Array(mac));
      });
    isLater = true;
  },
};

/** One end of a wire: a link's transport over a port of a MessageChannel. An empty message is the end. */
class PortTransport {
  binding = new Uint8Array(0);
  link;
  #port;

  constructor(port) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      if (data === null) this.lost();
      else this.link.receive(data);
    };
  }

  write(parts, flushed) {
    for (const part of parts) this.#port.postMessage(part.slice());
    queueMicrotask(flushed);
  }

  end() {
    this.#port.postMessage(null);
  }

  destroy() {
    this.end();
    this.lost();
  }

  /** Nothing more is received, also of what is under way. */
  lost() {
    this.#port.onmessage = null;
    this.#port.close();
    this.link.lost();
  }
}

export function runSession() {
  const sent = environment.random(0x10000);
  const byteAt = (index) => sent[(index * 31 + (index >>> 16)) & 0xffff];
  const wires = [];
  const seen = { links: 0, lost: 0, received: 0, wrongAt: -1, refusedLinks: [] };

  const device = new DeviceSessions({
    environment,
    deviceId: 'press-7',
    moduleId: '',
    linkRefused: (text) => seen.refusedLinks.push(text),
    opened(connection) {
      let hasEnded = false;
      const unsent = [];
      const send = () => {
        while (unsent.length > 0) {
          const bytes = unsent.shift();
          const goesOn = connection.write(bytes);
          connection.consumed(bytes.length);
          if (!goesOn) return;
        }
        if (hasEnded) connection.end();
      };
      connection.events = {
        data(bytes) {
          unsent.push(bytes.slice());
          if (unsent.length === 1) send();
        },
        ended() {
          hasEnded = true;
          send();
        },
        drained: send,
        aborted: () => undefined,
      };
      connection.accept();
    },
  });

  return new Promise((resolve) => {
    const over = (end) =>
      resolve({ ...seen, ...end, hmacs, hmacsAtOnce, nodeGlobals: [typeof process, typeof Buffer, typeof require] });
    const session = new ServiceSession({
      environment,
      budget: new Budget(67_108_864),
      deviceId: 'press-7',
      moduleId: '',
      dial() {
        const { port1, port2 } = new MessageChannel();
        const [near, far] = [new PortTransport(port1), new PortTransport(port2)];
        wires.push([near, far]);
        far.link = device.accept(far, { sessionId: session.id, caller: 'page', mayOpen: () => true });
        near.link = session.linkReady(near);
      },
      events: {
        linkProven: () => seen.links++,
        linkLost: () => seen.lost++,
        linkRefused: (text) => seen.refusedLinks.push(text),
        closed: (end) => over({ end: end.reason }),
      },
    });

    let written = 0;
    let isCut = false;
    const write = () => {
      while (written < TOTAL_BYTES) {
        const piece = new Uint8Array(Math.min(PIECE_BYTES, TOTAL_BYTES - written));
        for (let index = 0; index < piece.length; index++) piece[index] = byteAt(written + index);
        written += piece.length;
        if (!connection.write(piece)) return;
      }
      connection.end();
    };
    session.start();
    const connection = session.open('echo', {
      data(bytes) {
        for (let index = 0; index < bytes.length; index++) {
          if (bytes[index] !== byteAt(seen.received + index) && seen.wrongAt < 0) seen.wrongAt = seen.received + index;
        }
        seen.received += bytes.length;
        connection.consumed(bytes.length);
        if (isCut || seen.received < CUT_AT_BYTES) return;
        isCut = true;
        seen.unansweredAtCut = written - seen.received;
        // Both ends notice it in tasks of their own, and what is under way is lost.
        for (const transport of wires.at(-1)) setTimeout(() => transport.lost());
      },
      ended: () => undefined,
      drained: write,
      aborted: (reason) => over({ aborted: reason }),
      finished: () => over({ finished: true }),
    });
    write();
  });
}
