import { CulvertError, printable } from '@culvert/protocol';
import { SERVICES_SERVICE, type ServiceReport, type ServiceState } from '@culvert/proxy/agent';
import type { ServiceClient } from '@culvert/service';
import type { Examination, Found } from './check.ts';
import { elapsedMs } from './network.ts';

/** Bytes of a report: 64 services with names and reasons of at most a few hundred bytes each. */
const MAX_REPORT_BYTES = 65_536;

/** Milliseconds that a report may take: eight times the agent's timeout of ten seconds for a target that does not answer, and a margin. */
const REPORT_MS = 90_000;

/** A device or module, and how to open streams to it. */
export interface ServiceUser {
  readonly client: ServiceClient;
  readonly device: string;
  readonly moduleId: string | undefined;
}

/** Tests a service of any device by opening a stream to it and ending it at once: the agent connects to the service before it answers. */
export async function tryOne({ client, device, moduleId }: ServiceUser, name: string): Promise<Found> {
  const started = performance.now();
  const module = moduleId === undefined ? {} : { moduleId };
  const stream = await client.openStream(device, { name, ...module });
  const ms = elapsedMs(started);
  stream.on('error', () => undefined).destroy();
  return { found: `accepts connections (${ms} ms)`, data: { ms } };
}

/** Asks the device's agent to test all services it offers, and reports a check for each. */
export async function tryAll(examination: Examination, user: ServiceUser): Promise<void> {
  let report: ServiceReport | undefined;
  await examination.look('services', ['stream'], async () => {
    report = await askAgent(user);
    if (report === undefined) {
      const found = 'the device does not report which services it offers: it runs no Culvert agent, or an older one';
      return { found, warning: true, advice: 'Try one by its name: culvert doctor DEVICE --service NAME' };
    }
    const { services, untried } = report;
    const names = services.map(({ name }) => name).join(', ');
    if (untried > 0) return { found: `offers ${names} and ${untried} more, which were not tried`, warning: true };
    return { found: services.length === 0 ? 'offers none' : `offers ${names}` };
  });
  for (const service of report?.services ?? []) {
    await examination.look(
      `service ${service.name}`,
      ['services'],
      () => Promise.resolve(stateOf(service)),
      () => 'Is that program running on the device, and the address in the agent’s configuration right?',
    );
  }
}

function stateOf({ ok, ms, problem }: ServiceState): Found {
  if (!ok) throw new CulvertError('target_unreachable', printable(problem ?? 'it accepts no connections', 512));
  return { found: `accepts connections on the device (${ms} ms)`, data: { ms: ms ?? 0 } };
}

/** Asks the agent for its report. Undefined when the answer is not a report. */
async function askAgent({ client, device, moduleId }: ServiceUser): Promise<ServiceReport | undefined> {
  const module = moduleId === undefined ? {} : { moduleId };
  const signal = AbortSignal.timeout(REPORT_MS);
  try {
    const stream = await client.openStream(device, { name: SERVICES_SERVICE, ...module, signal });
    stream.on('error', () => undefined);
    const end = (): unknown => stream.destroy(new CulvertError('device_silent', 'The agent did not report in time.'));
    signal.addEventListener('abort', end);
    try {
      let text = '';
      for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        text += chunk.toString('utf8');
        if (text.length > MAX_REPORT_BYTES) return undefined;
      }
      return parseReport(text);
    } finally {
      signal.removeEventListener('abort', end);
      stream.end();
    }
  } catch (error) {
    if (error instanceof CulvertError && error.code === 'rejected') return undefined;
    throw error;
  }
}

function parseReport(text: string): ServiceReport | undefined {
  try {
    const { services, untried } = JSON.parse(text) as Partial<ServiceReport>;
    if (!Array.isArray(services) || typeof untried !== 'number') return undefined;
    const states = services.map(({ name, ok, ms, problem }: Partial<ServiceState>) => ({
      name: printable(String(name), 128),
      ok: ok === true,
      ...(typeof ms === 'number' ? { ms } : {}),
      ...(typeof problem === 'string' ? { problem } : {}),
    }));
    return { services: states, untried };
  } catch {
    return undefined;
  }
}
