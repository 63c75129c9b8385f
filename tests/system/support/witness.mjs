// The program at either end of a stream. It prints the events of its TCP connection, one line of JSON per event.
//   witness.mjs listen|dial PORT quiet|chatty|flood|paused
import { connect, createServer } from 'node:net';

const [, , how, port, manner] = process.argv;
const say = (what) => console.log(JSON.stringify({ at: Date.now(), what }));

function watch(socket) {
  let bytes = 0;
  say('open');
  if (manner !== 'paused') socket.on('data', (data) => (bytes += data.length));
  socket.on('end', () => say(`end of data (clean) after ${bytes} bytes`));
  socket.on('error', (error) => say(`error ${error.code} after ${bytes} bytes`));
  socket.on('close', () => say('closed'));
  // A socket that is not read does not keep the process alive, so a timer does.
  if (manner === 'paused') setInterval(() => undefined, 1_000);
  if (manner === 'chatty') setInterval(() => socket.writable && socket.write('x'), 1_000);
  if (manner === 'flood') {
    const pump = () => {
      while (socket.writable && socket.write(Buffer.alloc(65_536)));
    };
    socket.on('drain', pump);
    pump();
  } else socket.write('hello');
}

if (how === 'listen')
  createServer({ allowHalfOpen: false }, watch).listen(Number(port), '127.0.0.1', () => say('listening'));
else watch(connect(Number(port), '127.0.0.1'));
