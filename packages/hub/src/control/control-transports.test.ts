import { expect, it } from 'vitest';
import { CONTROL_PROTOCOLS } from '../observe/listener.ts';
import { CONTROL_TRANSPORTS } from './control-transports.ts';

it('has every protocol by which a channel can come, each over TLS and over WebSocket', () => {
  const carried = CONTROL_TRANSPORTS.flatMap(({ name }) => [name, `${name}-ws`]);
  expect(carried).toEqual(CONTROL_PROTOCOLS);
});

it('tells them apart by their listeners and by their subprotocols', () => {
  const keys = CONTROL_TRANSPORTS.map(({ listenKey }) => listenKey);
  expect(new Set(keys).size).toBe(CONTROL_TRANSPORTS.length);
  expect(keys).toEqual(CONTROL_TRANSPORTS.map(({ name }) => `${name}Listen`));
  const subprotocols = CONTROL_TRANSPORTS.flatMap((transport) => transport.subprotocols);
  expect(new Set(subprotocols).size).toBe(subprotocols.length);
});
