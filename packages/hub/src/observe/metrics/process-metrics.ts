import { readdirSync, readFileSync } from 'node:fs';
import { Gauge, type Registry } from '@prometheus-io/client';
import { countedElsewhere } from './counted-elsewhere.ts';

/**
 * Registers metrics of the process under the names that Prometheus's client libraries use, so that existing dashboards work. The library's own
 * collector is not used, because its timers and observers keep running after the hub has stopped.
 */
export function addProcessMetrics(registry: Registry): void {
  const cpu = { name: 'process_cpu_seconds_total', help: 'User and system CPU time, in seconds.' };
  countedElsewhere(registry, cpu, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  const gauge = (name: string, help: string, read: () => number | undefined) => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const value = read();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  };
  const startedAt = Date.now() / 1e3 - process.uptime();
  gauge('process_start_time_seconds', 'When the process began, seconds since the epoch.', () => startedAt);
  gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  gauge('process_heap_bytes', 'The part of the JavaScript heap that is in use.', () => process.memoryUsage().heapUsed);
  gauge('process_open_fds', 'Open file descriptors.', openDescriptors);
  gauge('process_max_fds', 'Most file descriptors it may have open.', maxDescriptors);
}

/** The number of open file descriptors; undefined on systems other than Linux, where the metric is left out. */
function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

function maxDescriptors(): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}
