import { Connection } from './connection.ts';

/** Downloads through a tunnel on several connections, repeatedly until it is stopped; prints `flowing` once bytes have arrived on each. */
const [host = '', port = '', count = ''] = process.argv.slice(2);
const PIECE_BYTES = 1_048_576;

let flowing = 0;
const flow = async (): Promise<void> => {
  const connection = new Connection({ host, port: Number(port) });
  await connection.download(PIECE_BYTES);
  flowing += 1;
  if (flowing === Number(count)) process.stdout.write('flowing\n');
  for (;;) await connection.download(PIECE_BYTES);
};
await Promise.all(Array.from({ length: Number(count) }, flow));
