import type { StreamOffer } from '@culvert/device';

/** An `onStream` callback that accepts every offer and sends received data back, until either side ends or is lost. */
export async function echoOffer(offer: StreamOffer): Promise<void> {
  const stream = await offer.accept();
  stream.on('error', () => stream.destroy());
  stream.pipe(stream);
}
