import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { ServiceClient } from '@culvert/service';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { ROOT } from './support/culvert.ts';
import { sha256 } from './support/digest.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, must, Program, run } from './support/program.ts';
import { scratch } from './support/scratch.ts';

const MEBIBYTE = 1024 * 1024;
const example = (name: string) => join(ROOT, 'examples', name);

const cleanup = new Cleanup();
let hub: HubProcess;
let owner: ServiceClient;
let built: string;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { mqtt: true });
  owner = hub.owner(cleanup);
  built = scratch(cleanup);
});
afterAll(() => cleanup.run());

/** Sends `text`, ends the stream when the text has come back, and expects a clean end with no further bytes. */
async function expectEcho(stream: Duplex, text: string): Promise<void> {
  stream.write(text);
  const [answer] = (await once(stream, 'data')) as [Buffer];
  expect(answer.toString()).toBe(text);
  stream.end();
  expect(await stream.toArray()).toEqual([]);
}

/** Starts each example as its README describes, with build output kept outside the checkout. */
const LANGUAGES = {
  Python: async (): Promise<[string, string[]]> => {
    const venv = join(built, 'venv');
    await must('python3', ['-m', 'venv', venv]);
    const requirements = join(example('python-device'), 'requirements.txt');
    await must(join(venv, 'bin/pip'), ['install', '-q', '--disable-pip-version-check', '-r', requirements], {
      env: cleanEnvironment({ HOME: built }),
      timeoutMs: 110_000,
    });
    return [join(venv, 'bin/python'), [join(example('python-device'), 'echo_device.py')]];
  },
  C: async (): Promise<[string, string[]]> => {
    await must('make', ['-C', example('c-device'), `BUILD=${built}`]);
    return [join(built, 'echo-device'), []];
  },
};

describe.each(['Python', 'C'] as const)('the echo device in %s', (language) => {
  let command: [string, string[]];

  beforeAll(async () => {
    command = await LANGUAGES[language]();
  });

  function start(connectionString: string): Program {
    const env = cleanEnvironment({
      HOME: hub.home,
      CULVERT_DEVICE_CONNECTION_STRING: connectionString,
      CULVERT_CA_FILE: hub.caFile,
      CULVERT_MQTT_PORT: String(hub.mqttPort),
    });
    return cleanup.defer(new Program(...command, { env }), (program) => program.stop());
  }

  test('echoes 1 MiB on three streams at once, rejects what it does not offer, and ends with 0', async () => {
    const device = start(await hub.createDevice(`echo;${language}=1`));
    await device.waitFor(/attached/);
    await Promise.all(
      [1, 2, 3].map(async () => {
        const stream = await owner.openStream(`echo;${language}=1`, { name: 'echo' });
        const data = randomBytes(MEBIBYTE);
        stream.write(data);
        const parts: Buffer[] = [];
        let received = 0;
        for await (const part of stream as AsyncIterable<Buffer>) {
          parts.push(part);
          received += part.length;
          if (received >= data.length) stream.end();
        }
        expect(sha256(Buffer.concat(parts))).toBe(sha256(data));
      }),
    );
    await device.waitFor(/stream ended after 1048576 bytes: close code 1000/);
    const rejected = owner.openStream(`echo;${language}=1`, { name: 'ssh' });
    await expect(rejected).rejects.toMatchObject({
      code: 'rejected',
      message: expect.stringContaining('offers echo, not ssh'),
    });
    device.signal('SIGTERM');
    expect((await device.end()).code).toBe(0);
  });

  // The libraries of these examples answer a Close at once: a service that ends before the answer has arrived may lose it, and gets an error.
  test('what is sent is echoed, and the end after it is clean', async () => {
    const device = start(await hub.createDevice(`half-${language}`));
    await device.waitFor(/attached/);
    const stream = await owner.openStream(`half-${language}`, { name: 'echo' });
    await expectEcho(stream, 'short');
  });

  test('comes back after the hub was gone', async () => {
    const device = start(await hub.createDevice(`back-${language}`));
    await device.waitFor(/attached/);
    await hub.stop('SIGKILL');
    await device.waitFor(/detached/);
    await hub.start();
    await device.waitFor(/attached[\s\S]*attached/, 60_000);
    const stream = await owner.openStream(`back-${language}`, { name: 'echo' });
    await expectEcho(stream, 'again');
  });

  test('a wrong key ends it with 1', async () => {
    const wrong = (await hub.createDevice(`wrong-${language}`)).replace(
      /SharedAccessKey=.*/,
      `SharedAccessKey=${randomBytes(32).toString('base64')}`,
    );
    const device = start(wrong);
    const { code, stderr } = await device.end();
    expect(stderr).toMatch(/the hub refused/);
    expect(code).toBe(1);
  });
});

test("OpenSSL's strict rules accept the hub's own authority", async () => {
  const shown = await run(
    'openssl',
    [
      's_client',
      '-connect',
      `127.0.0.1:${hub.port}`,
      '-CAfile',
      hub.caFile,
      '-x509_strict',
      '-verify_return_error',
      '-verify_ip',
      '127.0.0.1',
      '-brief',
    ],
    { input: '' },
  );
  expect(shown.stdout + shown.stderr).toMatch(/Verification: OK/);
});
