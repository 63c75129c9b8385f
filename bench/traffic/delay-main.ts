import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Forwards TCP to a port of this machine and delivers every byte `delayMs` after its arrival, in each direction: `PORT DELAY_MS`. Prints the
 * address it listens on. It terminates TCP on both sides, so it delays the bytes and not the kernel's acknowledgements: of a long link it shows
 * the cost of waiting for answers, but neither congestion nor loss.
 */
const [port = '', delay = ''] = process.argv.slice(2);
const DELAY_MS = Number(delay);

/** Maximum bytes in transit in one direction of one connection: what Linux lets a TCP connection have unacknowledged (`tcp_wmem`). */
const WINDOW_BYTES = 4 * 2 ** 20;

function carry(from: Socket, to: Socket): void {
  const underWay: { readonly chunk: Buffer | undefined; readonly at: number }[] = [];
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => {
    const [first] = underWay;
    if (first !== undefined) timer ??= setTimeout(deliver, Math.max(0, first.at - performance.now()));
  };
  const deliver = (): void => {
    timer = undefined;
    for (let [first] = underWay; first !== undefined && first.at <= performance.now(); [first] = underWay) {
      underWay.shift();
      if (first.chunk === undefined) to.end();
      else if (!to.write(first.chunk)) from.pause();
      bytes -= first.chunk?.length ?? 0;
    }
    if (bytes < WINDOW_BYTES && !to.writableNeedDrain) from.resume();
    arm();
  };
  const send = (chunk: Buffer | undefined): void => {
    underWay.push({ chunk, at: performance.now() + DELAY_MS });
    bytes += chunk?.length ?? 0;
    if (bytes >= WINDOW_BYTES) from.pause();
    arm();
  };
  from.on('data', send);
  from.on('end', () => send(undefined));
  to.on('drain', () => {
    if (bytes < WINDOW_BYTES) from.resume();
  });
  from.on('close', () => {
    clearTimeout(timer);
    to.destroy();
  });
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  const far = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  for (const socket of [near, far]) socket.on('error', () => socket.destroy());
  carry(near, far);
  carry(far, near);
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening ${(server.address() as AddressInfo).port}\n`);
});
