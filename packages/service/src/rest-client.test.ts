import type { IncomingMessage, ServerResponse } from 'node:http';
import { CONTINUATION_HEADER } from '@culvert/protocol';
import { FakeClock, ScriptedHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServiceClient } from './service-client.ts';

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

const DEVICE = { deviceId: 'd1', etag: 'e1', status: 'enabled' };

let hub: ScriptedHub;
let service: ServiceClient;
let seen: Seen[];
let answer: (request: Seen, response: ServerResponse) => void;
const clock = new FakeClock();

beforeEach(async () => {
  seen = [];
  answer = (_request, response) => response.writeHead(200).end(JSON.stringify(DEVICE));
  hub = await ScriptedHub.start({
    onRequest: (request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        const { method, url, headers } = request;
        seen.push({ method, url, headers, body });
        answer({ method, url, headers, body }, response);
      });
    },
  });
  service = ServiceClient.fromConnectionString(hub.serviceConnectionString(), { outbound: { ca: hub.ca }, clock });
});

afterEach(async () => {
  service.close();
  await hub.stop();
});

describe('the registry', () => {
  it('creates without, and updates and deletes with, a condition', async () => {
    await service.devices.create('d1', { status: 'disabled' });
    await service.devices.update({ deviceId: 'd1', status: 'enabled' });
    await service.devices.update({ deviceId: 'd1', statusReason: null }, { etag: 'e1' });
    answer = (_request, response) => response.writeHead(204).end();
    await service.devices.delete('d1', { etag: 'e2' });
    await service.devices.delete("$(d');1");
    expect(seen.map(({ method, headers }) => [method, headers['if-match']])).toEqual([
      ['PUT', undefined],
      ['PUT', '*'],
      ['PUT', '"e1"'],
      ['DELETE', '"e2"'],
      ['DELETE', '*'],
    ]);
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({ deviceId: 'd1', status: 'disabled' });
    expect(seen[4]?.url).toMatch(/^\/devices\/%24\(d'\)%3B1\?/);
    // All five calls used one connection.
    expect(hub.connections).toBe(1);
  });

  it('reads a page only when the one before is used up', async () => {
    answer = ({ headers }, response) => {
      const page = Number(headers[CONTINUATION_HEADER] ?? '0');
      if (page < 2) response.setHeader(CONTINUATION_HEADER, `${page + 1}`);
      response.end(
        JSON.stringify([
          { ...DEVICE, deviceId: `a${page}` },
          { ...DEVICE, deviceId: `b${page}` },
        ]),
      );
    };
    const ids: string[] = [];
    const pages: number[] = [];
    for await (const { deviceId } of service.devices.list()) {
      ids.push(deviceId);
      pages.push(seen.length);
    }
    expect(ids).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2']);
    expect(pages).toEqual([1, 1, 2, 2, 3, 3]);
  });

  it('asks for a page of a size', async () => {
    answer = (_request, response) => response.end('[]');
    expect(await service.devices.listPage({ top: 7, continuation: 'next' })).toEqual({ devices: [] });
    expect(seen[0]?.url).toMatch(/^\/devices\?top=7&/);
    expect(seen[0]?.headers[CONTINUATION_HEADER]).toBe('next');
    await expect(service.devices.listPage({ top: 1_001 })).rejects.toMatchObject({ code: 'argument_invalid' });
  });

  it('does not take something else for a device', async () => {
    for (const body of ['', 'null', '[]', '{"deviceId":1}', '<html>']) {
      answer = (_request, response) => response.end(body);
      await expect(service.devices.get('d1')).rejects.toMatchObject({ code: 'protocol_error' });
    }
  });
});

describe('modules', () => {
  const MODULE = { deviceId: 'd1', moduleId: 'm1', etag: 'e1' };

  it('are created without, and updated and deleted with, a condition', async () => {
    const { modules } = service;
    answer = (_request, response) => response.end(JSON.stringify(MODULE));
    expect(await modules.create('d1', 'm1', { managedBy: 'me', authentication: { type: 'none' } })).toEqual(MODULE);
    await modules.update({ deviceId: 'd1', moduleId: 'm1', managedBy: null });
    await modules.update({ deviceId: 'd1', moduleId: 'm1' }, { etag: 'e1' });
    await modules.get("$(d');1", '#m');
    answer = (_request, response) => response.writeHead(204).end();
    await modules.delete('d1', 'm1', { etag: 'e2' });
    await modules.delete('d1', 'm1');
    expect(seen.map(({ method, headers }) => [method, headers['if-match']])).toEqual([
      ['PUT', undefined],
      ['PUT', '*'],
      ['PUT', '"e1"'],
      ['GET', undefined],
      ['DELETE', '"e2"'],
      ['DELETE', '*'],
    ]);
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({
      deviceId: 'd1',
      moduleId: 'm1',
      managedBy: 'me',
      authentication: { type: 'none' },
    });
    expect(seen[3]?.url).toMatch(/^\/devices\/%24\(d'\)%3B1\/modules\/%23m\?/);
  });

  it('are listed, and nothing else is taken for one', async () => {
    answer = (_request, response) => response.end(JSON.stringify([MODULE]));
    expect(await service.modules.list('d1')).toEqual([MODULE]);
    expect(seen[0]?.url).toMatch(/^\/devices\/d1\/modules\?/);
    answer = (_request, response) => response.end(JSON.stringify(DEVICE));
    await expect(service.modules.get('d1', 'm1')).rejects.toMatchObject({ code: 'protocol_error' });
    await expect(service.modules.get('d1', 'a/b')).rejects.toMatchObject({ code: 'argument_invalid' });
  });
});

describe('certificate authorities', () => {
  const AUTHORITY = { name: 'plant-7', thumbprint: 'AB', certificate: 'PEM' };

  it('are added, shown, listed and removed', async () => {
    const { authorities } = service;
    answer = ({ method, url }, response) => {
      if (method === 'DELETE') response.writeHead(204).end();
      else response.end(JSON.stringify(url?.endsWith('s') ? { authorities: [AUTHORITY] } : AUTHORITY));
    };
    expect(await authorities.add('plant-7', 'PEM')).toEqual(AUTHORITY);
    expect(await authorities.get('plant-7')).toEqual(AUTHORITY);
    expect(await authorities.list()).toEqual([AUTHORITY]);
    await authorities.remove('plant-7');
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'PUT /certificate-authorities/plant-7',
      'GET /certificate-authorities/plant-7',
      'GET /certificate-authorities',
      'DELETE /certificate-authorities/plant-7',
    ]);
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({ certificate: 'PEM' });
  });

  it.each(['', '..', 'a/b', 'x'.repeat(65)])('are not called %j', async (name) => {
    await expect(service.authorities.remove(name)).rejects.toMatchObject({ code: 'argument_invalid' });
    expect(seen).toEqual([]);
  });
});

describe('policies and endpoints', () => {
  const POLICY = { name: 'service', permissions: [], primaryKey: 'a', secondaryKey: 'b', connectionString: 'c' };

  it('lists, shows and rotates policies', async () => {
    answer = ({ url }, response) => response.end(JSON.stringify(url === '/policies' ? { policies: [POLICY] } : POLICY));
    expect(await service.policies.list()).toEqual([POLICY]);
    expect(await service.policies.get('service')).toEqual(POLICY);
    expect(await service.policies.rotate('service')).toEqual(POLICY);
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'GET /policies',
      'GET /policies/service',
      'POST /policies/service/rotate',
    ]);
  });

  it('asks for the endpoints without a credential', async () => {
    answer = (_request, response) => response.end('{"hostName":"h","streamingEndpoints":["https://h:443"]}');
    expect(await service.endpoints()).toEqual({ hostName: 'h', streamingEndpoints: ['https://h:443'] });
    expect(seen[0]?.headers.authorization).toBeUndefined();
  });
});

describe('a request', () => {
  it('keeps its token until shortly before the token expires', async () => {
    await service.devices.get('d1');
    clock.advance(54 * 60_000);
    await service.devices.get('d1');
    clock.advance(2 * 60_000);
    await service.devices.get('d1');
    const [first, second, third] = seen.map(({ headers }) => headers.authorization);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  });

  it('is given up when the hub does not answer', async () => {
    answer = () => clock.advance(30_000);
    await expect(service.devices.get('d1')).rejects.toMatchObject({
      code: 'unreachable',
      message: 'The hub did not answer within 30 seconds.',
    });
  });

  it('is made again when the kept connection was dead, if that changes nothing', async () => {
    await service.devices.get('d1');
    let cuts = 0;
    answer = (_request, response) => {
      if (cuts++ === 0) hub.cut();
      else response.end(JSON.stringify(DEVICE));
    };
    expect((await service.devices.get('d1')).deviceId).toBe('d1');
    cuts = 0;
    await expect(service.devices.create('d1')).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('takes no answer without an end', async () => {
    answer = (_request, response) => {
      response.writeHead(200);
      const more = () => {
        while (response.write('x'.repeat(65_536)));
        response.once('drain', more);
      };
      more();
    };
    await expect(service.devices.get('d1')).rejects.toMatchObject({ code: 'too_large' });
  });

  it('says what could not be reached, and what is not trusted', async () => {
    const untrusting = ServiceClient.fromConnectionString(hub.serviceConnectionString());
    await expect(untrusting.devices.get('d1')).rejects.toMatchObject({ code: 'untrusted' });
    untrusting.close();
    await hub.stop();
    await expect(service.devices.get('d1')).rejects.toMatchObject({ code: 'unreachable' });
    hub = await ScriptedHub.start();
  });

  it('is refused after close, while those under way finish', async () => {
    answer = (_request, response) => {
      service.close();
      response.end(JSON.stringify(DEVICE));
    };
    expect((await service.devices.get('d1')).deviceId).toBe('d1');
    await expect.poll(() => hub.connections).toBe(0);
    await expect(service.devices.get('d1')).rejects.toMatchObject({ code: 'aborted' });
  });
});
