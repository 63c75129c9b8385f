import { createInterface } from 'node:readline';
import { Connection } from './connection.ts';

/**
 * Moves bytes through a tunnel on several connections, repeatedly until it is stopped: `HOST PORT COUNT down|up PIECE_BYTES`. Prints `flowing` once a piece has been
 * moved on each, and answers each line on standard input with its text and the bytes moved so far.
 */
const [host = '', port = '', count = '', direction = '', pieceBytes = ''] = process.argv.slice(2);
const PIECE_BYTES = Number(pieceBytes);

let flowing = 0;
let moved = 0;
const flow = async (): Promise<void> => {
  const connection = new Connection({ host, port: Number(port) });
  const movePiece = async (): Promise<void> => {
    await (direction === 'up' ? connection.upload(PIECE_BYTES) : connection.download(PIECE_BYTES));
    moved += PIECE_BYTES;
  };
  await movePiece();
  flowing += 1;
  if (flowing === Number(count)) process.stdout.write('flowing\n');
  for (;;) await movePiece();
};
createInterface({ input: process.stdin }).on('line', (asked) => process.stdout.write(`moved ${asked} ${moved}\n`));
await Promise.all(Array.from({ length: Number(count) }, flow));
