import { Counter, type Registry } from '@prometheus-io/client';

/** A counter whose value somebody else keeps; read at each scrape. */
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
