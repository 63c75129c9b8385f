import { json } from 'node:stream/consumers';
import type { StreamTicket } from '../middles/middle.ts';
import { frameBlock } from './frames.ts';
import { openStream } from './open-stream.ts';
import { pour } from './pour.ts';

/** Floods the streams of the tickets on standard input until it is stopped, and checks every byte; prints `flowing` once bytes have arrived on each. */
const tickets = (await json(process.stdin)) as StreamTicket[];
const { masked, unmasked } = frameBlock(16_376, 'zero');
const ROUND = 64;

let flowing = 0;
const flood = async (ticket: StreamTicket): Promise<void> => {
  const joined = await openStream(ticket);
  await pour(joined, masked, unmasked, 1);
  flowing += 1;
  if (flowing === tickets.length) process.stdout.write('flowing\n');
  for (;;) await pour(joined, masked, unmasked, ROUND);
};
await Promise.all(tickets.map(flood));
