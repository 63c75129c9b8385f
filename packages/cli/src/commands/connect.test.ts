import { describe, expect, it } from 'vitest';
import { connectRequest } from './connect.ts';

describe('culvert connect', () => {
  it('reads what is asked for', async () => {
    expect(await connectRequest('-d$', ['ssh=2222', 'web=0.0.0.0:80'], {})).toEqual({
      mode: 'listen',
      identity: { deviceId: '-d$' },
      services: [
        { name: 'ssh', host: '127.0.0.1', port: 2222 },
        { name: 'web', host: '0.0.0.0', port: 80 },
      ],
    });
    const stdio = { mode: 'stdio', identity: { deviceId: 'd' }, service: 'ssh' };
    expect(await connectRequest('d', ['ssh'], { stdio: true })).toEqual(stdio);
    expect(await connectRequest(undefined, [], { sshHost: 'd.culvert' })).toEqual(stdio);
    const ofModule = { ...stdio, identity: { deviceId: 'd', moduleId: '$m' } };
    expect(await connectRequest('d', ['ssh'], { stdio: true, module: '$m' })).toEqual(ofModule);
    expect(await connectRequest(undefined, [], { sshHost: 'd~2f~24m.culvert' })).toEqual(ofModule);
  });

  it.each([
    [undefined, [], {}, /which device/],
    ['d', [], {}, /SERVICE=\[HOST:\]PORT/],
    ['d', [], { stdio: true }, /SERVICE --stdio/],
    ['d', ['ssh'], {}, /'ssh' is not NAME=/],
    ['d', ['a', 'b'], { stdio: true }, /one service/],
    ['d', ['a/b'], { stdio: true }, /stream name/],
    ['d', [], { sshHost: 'd.culvert' }, /takes the place/],
    [undefined, [], { sshHost: 'd.culvert', module: 'm' }, /takes the place/],
    ['..', ['a=1'], {}, /cannot be a device id/],
    ['d', ['a=1'], { module: 'a/b' }, /is not a module id/],
  ])('refuses %j %j %j', async (device, services, flags, message) => {
    await expect(connectRequest(device, services, flags)).rejects.toThrow(message);
  });
});
