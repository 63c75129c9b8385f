import { newStreamId } from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { RawWebSocket, startGateway, upgradeRequest } from '@culvert/testkit';
import { fuzzArguments } from './arguments.ts';
import { corpus } from './corpus.ts';
import { Prng } from './prng.ts';

/**
 * Sends invalid upgrade requests to the gateway, with errors in headers, address or grant. For every input,
 * the gateway must survive, give the sender no connection and keep no state; afterwards it must still accept a valid request.
 */
export async function fuzzGatewayUpgrade(seed: number, runs: number): Promise<void> {
  const bench = await startGateway({ limits: { lingerMs: 200 } });
  const random = new Prng(seed);
  const inputs = await corpus('gateway', 'upgrade-');
  try {
    for (let run = 0; run < runs; run++) {
      const one = random.fork();
      const grant = await bench.grant(newStreamId(), 'device');
      const request = inputs[run]?.toString('latin1') ?? mutate(one, grant);
      const client = await RawWebSocket.connect(grant, { ca: bench.ca, request: Buffer.from(request, 'latin1') });
      // Some mutations make the request incomplete: then the sender ends the connection.
      const timeout = setTimeout(() => client.socket.end(), 100);
      const status = await client.answer();
      clearTimeout(timeout);
      if (status === 101 && !isHarmless(request, grant)) throw new Error(`seed ${seed}, run ${run}: it was accepted.`);
      client.socket.destroy();
      await client.closed;
    }
    while (bench.gateway.waitingConnections > 0) await new Promise((resolve) => setImmediate(resolve));
    const client = await RawWebSocket.open(await bench.grant(newStreamId(), 'device'), { ca: bench.ca });
    if (!client.head.startsWith('HTTP/1.1 101 ')) throw new Error('A correct request is no longer accepted.');
    client.socket.destroy();
  } finally {
    await bench.stop();
  }
}

/**
 * Whether a request may be accepted: the mutation left its address and its grant intact. The last character of a
 * token holds four bits that belong to no byte of the signature; a token that differs only in them is the same grant (the gateway
 * recognises a used grant by its stream and side, not by its text).
 */
function isHarmless(request: string, grant: Grant): boolean {
  const token = /^authorization:\s*bearer +(\S+)\s*$/im.exec(request)?.[1];
  if (token === undefined || !request.startsWith(`GET ${new URL(grant.url).pathname} HTTP/1.1\r\n`)) return false;
  const [sent, right] = [token, grant.token].map((text) => text.split('.'));
  if (sent?.length !== 3 || sent[0] !== right?.[0] || sent[1] !== right?.[1]) return false;
  return Buffer.from(sent[2] ?? '', 'base64url').equals(Buffer.from(right?.[2] ?? '', 'base64url'));
}

function mutate(random: Prng, grant: Grant): string {
  const request = upgradeRequest(grant);
  switch (random.integer(0, 6)) {
    case 0:
      return flip(random, request, random.integer(1, 5));
    case 1:
      return upgradeRequest({ ...grant, token: flip(random, grant.token, 1, BASE64URL) });
    case 2:
      return upgradeRequest({ ...grant, token: random.text(random.integer(0, 3_000)) });
    case 3:
      return request.slice(0, random.integer(1, request.length - 3));
    case 4:
      return request.replace(/\/bridges\/\S+/, `/bridges/${random.text(random.integer(0, 200), `${BASE64URL}/%.?#`)}`);
    case 5: {
      const parts = grant.token.split('.');
      parts[random.integer(0, 2)] = random.text(random.integer(0, 200), BASE64URL);
      return upgradeRequest({ ...grant, token: parts.join('.') });
    }
    default:
      return upgradeRequest(grant, {
        [random.pick(['Sec-WebSocket-Key', 'Sec-WebSocket-Version', 'Upgrade', 'Authorization'])]: random.text(
          random.integer(1, 60),
          ' ~!@#$%^&*()_+{}|:"<>?-=[];,./abcXYZ019',
        ),
      });
  }
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Replaces some characters by others. */
function flip(random: Prng, text: string, count: number, alphabet?: string): string {
  const characters = [...text];
  for (let i = 0; i < count; i++) {
    const at = random.integer(0, characters.length - 1);
    characters[at] = alphabet === undefined ? String.fromCharCode(random.integer(0, 255)) : random.text(1, alphabet);
  }
  return characters.join('');
}

if (import.meta.main) {
  const { seed, runs } = fuzzArguments(2_000);
  console.error(`gateway-upgrade: seed ${seed}, ${runs} runs`);
  await fuzzGatewayUpgrade(seed, runs);
}
