import type { DeviceClientOptions } from '@culvert/device';
import { CulvertError, type ErrorCode } from '@culvert/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Agent, startAgent } from './agent.ts';
import type { AgentAddress } from './agent-connection.ts';
import type { AgentEvent } from './agent-events.ts';

const SERVICES = { services: new Map([['ssh', { host: '127.0.0.1', port: 22 }]]) };

/** A connection string that differs for each name. */
const addressOf = (name: string) => `HostName=localhost:1;DeviceId=d;SharedAccessKey=${btoa(name)}`;

/** A client whose state changes the test controls. */
class Client {
  readonly text: string;
  readonly options: DeviceClientOptions;
  closed = false;
  opened = false;
  fail: (error: CulvertError) => void = () => undefined;
  #attached: () => void = () => undefined;

  constructor(text: string, options: DeviceClientOptions) {
    this.text = text;
    this.options = options;
  }

  open(): Promise<void> {
    this.opened = true;
    return new Promise((resolve, reject) => {
      this.#attached = resolve;
      this.fail = reject;
    });
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  attach(): void {
    this.options.onStateChange?.('attached');
    this.#attached();
  }

  wait(code: ErrorCode, message?: string): void {
    this.options.onStateChange?.('waiting', new CulvertError(code, message), 1_000);
    this.options.onStateChange?.('connecting');
  }
}

let clients: Client[];
let events: AgentEvent[];

function started(readAgain?: () => AgentAddress | undefined): Agent {
  const options = {
    connectionString: addressOf('first'),
    ...SERVICES,
    onEvent: (event: AgentEvent) => events.push(event),
  };
  return startAgent({ ...options, ...(readAgain === undefined ? {} : { readAgain }) }, (text, clientOptions) => {
    const client = new Client(text, clientOptions);
    clients.push(client);
    return client;
  });
}

function client(index: number): Client {
  const found = clients[index];
  if (found === undefined) throw new Error(`there is no client ${index}`);
  return found;
}

/** The events so far in short form: the state or type, and the error code. */
const eventTexts = (): string[] =>
  events.map((event) => {
    const error = 'error' in event && event.error !== undefined ? ` ${event.error.code}` : '';
    return `${event.type === 'state' ? event.state : event.type}${error}`;
  });

/** Waits one event-loop iteration, so that pending promises are settled. */
const nextIteration = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  clients = [];
  events = [];
});

describe('why an agent is not attached', () => {
  it('is told once per change of reason, and that it is back once', () => {
    started();
    const one = client(0);
    expect(one.options.onFirstRefusal).toBe('retry');
    for (let attempt = 0; attempt < 1_000; attempt++) {
      one.wait('unauthorized', `The token expired at 12:0${attempt % 10}.`);
    }
    one.wait('device_disabled');
    one.wait('device_disabled');
    one.attach();
    one.wait('device_disabled');
    expect(eventTexts()).toEqual([
      'waiting unauthorized',
      'waiting device_disabled',
      'attached',
      'waiting device_disabled',
    ]);
    expect(events[0]).toMatchObject({ retryInMs: 1_000 });
  });
});

describe('another address', () => {
  it('is connected to before the old connection is given up', async () => {
    const agent = started();
    client(0).attach();
    agent.reload(SERVICES, { connectionString: addressOf('second') });
    expect([client(1).opened, client(0).closed]).toEqual([true, false]);
    for (let attempt = 0; attempt < 10; attempt++) client(1).wait('unauthorized');
    expect(client(0).closed).toBe(false);
    client(1).attach();
    expect(client(0).closed).toBe(true);
    // The agent must ignore the old client's last events.
    client(0).wait('taken_over');
    expect(eventTexts()).toEqual(['attached', 'reloaded', 'reload-waits unauthorized', 'attached']);
    await agent.close();
    expect(client(1).closed).toBe(true);
  });

  it('takes the place of one that has failed itself', () => {
    const agent = started();
    client(0).attach();
    agent.reload(SERVICES, { connectionString: addressOf('second') });
    client(0).wait('revoked');
    expect(client(0).closed).toBe(true);
    client(1).wait('unauthorized');
    expect(eventTexts()).toEqual(['attached', 'reloaded', 'waiting unauthorized']);
  });

  it('that is the same changes nothing', () => {
    const agent = started();
    agent.reload(SERVICES, { connectionString: addressOf('first') });
    expect(clients).toHaveLength(1);
    expect(events).toMatchObject([{ type: 'reloaded', connection: false, services: ['ssh'], added: [], removed: [] }]);
  });

  it('that is none is refused, and nothing changes', () => {
    const agent = started();
    const services = new Map([['web', { host: '127.0.0.1', port: 80 }]]);
    expect(() => agent.reload({ services }, { connectionString: 'malformed' })).toThrow('not a connection string');
    expect(() => agent.reload({ services, defaultService: 'ssh' })).toThrow('not among the services');
    agent.reload(SERVICES);
    expect(events).toMatchObject([{ type: 'reloaded', added: [], removed: [] }]);
  });

  it.each([true, false])(
    'that cannot be used at all is given up for the old one, attached or not (%s)',
    async (attached) => {
      const agent = started();
      if (attached) client(0).attach();
      agent.reload(SERVICES, { connectionString: addressOf('second') });
      client(1).fail(new CulvertError('config_invalid', 'The CA certificate is not in PEM form.'));
      await nextIteration();
      expect(eventTexts().slice(attached ? 2 : 1)).toEqual(['reload-failed config_invalid']);
      const current = clients.filter(({ closed }) => !closed).filter(({ text }) => text === addressOf('first'));
      expect(current).toHaveLength(1);
      await agent.close();
      await agent.closed;
    },
  );

  it('is asked for after each refusal, and not after a loss', () => {
    let asked = 0;
    const answers: (AgentAddress | undefined)[] = [
      undefined,
      { connectionString: 'malformed' },
      { connectionString: addressOf('new') },
    ];
    started(() => answers[asked++]);
    client(0).wait('unreachable');
    client(0).wait('stream_lost');
    expect(asked).toBe(0);
    client(0).wait('unauthorized');
    client(0).wait('unauthorized');
    expect([asked, clients.length]).toEqual([2, 1]);
    client(0).wait('device_disabled');
    expect([client(0).closed, client(1).text, client(1).opened]).toEqual([true, addressOf('new'), true]);
    expect(eventTexts()).toContain('reload-failed argument_invalid');
  });
});

it('only what this machine cannot use ends an agent', async () => {
  const agent = started();
  client(0).fail(new CulvertError('config_invalid'));
  await expect(agent.closed).rejects.toMatchObject({ code: 'config_invalid' });
  await expect(agent.attached).rejects.toMatchObject({ code: 'config_invalid' });
});
