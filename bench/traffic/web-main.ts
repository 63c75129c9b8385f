import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PAGE } from './page.ts';

/** Runs a web server as the target: prints the address it listens on, and serves until it is stopped. */
const server = createServer((_request, response) => {
  response.end(PAGE);
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening ${(server.address() as AddressInfo).port}\n`);
});
