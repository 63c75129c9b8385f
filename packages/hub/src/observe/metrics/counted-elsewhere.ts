import { Counter, type Registry } from '@prometheus-io/client';

/** Registers a counter whose value is kept elsewhere; `read` returns the value at each scrape. */
export function countedElsewhere(
  registry: Registry,
  { name, help }: { readonly name: string; readonly help: string },
  read: () => number,
): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}
