import { formatAuthority, formatHostPort } from '@culvert/protocol';

/** The hub's host names. The main one is used in connection strings and grants. */
export class HostNames {
  readonly #names: readonly { host: string; port: number }[];

  /** @param names at least one, the main one first */
  constructor(names: readonly { host: string; port: number }[]) {
    this.#names = names;
  }

  get main(): { host: string; port: number } {
    return this.#names[0] ?? { host: 'localhost', port: 443 };
  }

  /** The main name in the form for connection strings: without the port if that is 443. */
  get authority(): string {
    return formatAuthority(this.main.host, this.main.port);
  }

  /** The audiences accepted in SAS tokens: each name with and without its port. */
  get audiences(): string[] {
    return this.#names.flatMap(({ host, port }) => [host, formatAuthority(host, 443), formatHostPort(host, port)]);
  }
}
