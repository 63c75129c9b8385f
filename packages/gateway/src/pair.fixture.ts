import { newStreamId, type Side } from '@culvert/protocol';
import { RawWebSocket, type TestGateway } from '@culvert/testkit';

/** A stream with both clients connected. The clients have no 'data' listeners. */
export interface OpenPair {
  readonly streamId: string;
  readonly device: RawWebSocket;
  readonly service: RawWebSocket;
}

/** Connects both sides of a new stream, without delayed writes (`setNoDelay`). @param open the list that the clients are added to, so that the test can close them */
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
