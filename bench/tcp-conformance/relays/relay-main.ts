import { createRelay, isRelayKind } from './relays.ts';

/** A relay as a process of its own, so that its memory can be watched: `KIND TARGET-PORT`; prints where it listens. */
const [kind = '', targetPort = ''] = process.argv.slice(2);
if (!isRelayKind(kind)) throw new Error(`there is no relay '${kind}'`);
const relay = createRelay(kind, Number(targetPort));
relay.listen({ port: 0, host: '127.0.0.1', backlog: 511 }, () => {
  const address = relay.address();
  if (typeof address === 'object' && address !== null) process.stdout.write(`listening ${address.port}\n`);
});
