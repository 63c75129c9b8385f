import type { Grant } from '@culvert/protocol/grant';
import { RawWebSocket } from '@culvert/testkit';
import type { StreamTicket } from '../middles/middle.ts';
import type { Joined } from './pour.ts';

/** Opens both ends of a stream. @throws Error when the middle refuses one */
export async function openStream({ from, to, ca }: StreamTicket): Promise<Joined> {
  return { from: await enter(from, ca), to: await enter(to, ca) };
}

async function enter(grant: Grant, ca: string): Promise<Joined['from']> {
  const { socket, head } = await RawWebSocket.open(grant, { ca });
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`the upgrade was refused: ${head}`);
  socket.removeAllListeners('data');
  socket.setNoDelay(true);
  return socket;
}
