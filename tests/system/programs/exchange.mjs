// The program at either end of a TCP connection: both send random bytes until the client is told to finish, and print what they sent and received, one line
// of JSON per report. The server ends its direction when the client has ended its own.
//   exchange.mjs listen PORT (0: any)      prints {"listening": PORT}
//   exchange.mjs dial PORT                 a line on standard input makes it finish
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes of one write, and milliseconds between two: slow enough that a transfer is never over before a test has disturbed it. */
const CHUNK_BYTES = 32_768;
const PAUSE_MS = 10;
const REPORT_MS = 200;

const [, , role, port] = process.argv;
const tell = (report) => console.log(JSON.stringify(report));

/** Exchanges bytes on one connection until `finished` resolves, or the peer has ended its direction. */
async function exchange(socket, finished) {
  let [sent, received] = [0, 0];
  const hashes = { sent: createHash('sha256'), received: createHash('sha256') };
  const ended = once(socket, 'end').then(() => true);
  const closed = once(socket, 'close');
  // A reset is told below; whoever still waits for one of these is told as well.
  for (const promise of [ended, closed]) promise.catch(() => undefined);
  socket.on('error', (error) => tell({ error: error.code }));
  socket.on('data', (data) => {
    received += data.length;
    hashes.received.update(data);
  });
  const reporting = setInterval(() => tell({ sent, received }), REPORT_MS);
  try {
    let isFinished = false;
    void (finished ?? ended).then(
      () => {
        isFinished = true;
      },
      () => undefined,
    );
    while (!isFinished && !socket.destroyed) {
      const chunk = randomBytes(CHUNK_BYTES);
      sent += chunk.length;
      hashes.sent.update(chunk);
      if (!socket.write(chunk)) await Promise.race([once(socket, 'drain'), closed]);
      await sleep(PAUSE_MS);
    }
    socket.end();
    await Promise.all([ended, closed]);
    tell({ sent, received, sentHash: hashes.sent.digest('hex'), receivedHash: hashes.received.digest('hex') });
  } finally {
    clearInterval(reporting);
  }
}

// A connection that is reset has told its error; nothing else is to be said.
const run = (socket, finished) => exchange(socket, finished).catch(() => undefined);

if (role === 'listen') {
  const server = createServer({ allowHalfOpen: true }, (socket) => void run(socket));
  server.listen(Number(port), '127.0.0.1', () => tell({ listening: server.address().port }));
} else {
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  const finished = once(process.stdin, 'data');
  await run(socket, finished);
  process.stdin.destroy();
}
