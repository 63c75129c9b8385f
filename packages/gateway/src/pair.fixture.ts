import { newStreamId, type Side } from '@culvert/protocol';
import { RawWebSocket, type TestGateway } from '@culvert/testkit';

/** A stream whose two sides have come; nobody listens for their bytes. */
export interface OpenPair {
  readonly streamId: string;
  readonly device: RawWebSocket;
  readonly service: RawWebSocket;
}

/** Opens both sides of a new stream, each of which writes at once. @param open takes the clients, for whoever ends them */
export async function openPair(bench: TestGateway, open: RawWebSocket[]): Promise<OpenPair> {
  const streamId = newStreamId();
  const arrive = async (side: Side): Promise<RawWebSocket> => {
    const client = await RawWebSocket.open(await bench.grant(streamId, side), { ca: bench.ca });
    client.socket.removeAllListeners('data');
    client.socket.setNoDelay(true);
    open.push(client);
    return client;
  };
  return { streamId, device: await arrive('device'), service: await arrive('service') };
}
