import type { AuditFilter, AuditRecord } from '@culvert/protocol';
import { jsonObject, objectsOf } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/** Records per request: the hub's maximum. */
const PAGE = 1_000;

/** The hub's audit log: all streams, and all changes of identities and permissions. Requires the permission `MonitorRead`. */
export class Audit {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /** Yields the records, oldest first; pages are fetched as needed. Ends after the last record that exists when the last page is fetched. */
  async *list(filter: AuditFilter = {}): AsyncGenerator<AuditRecord> {
    let after: number | undefined = 0;
    while (after !== undefined) {
      const query = new URLSearchParams({ after: `${after}`, limit: `${PAGE}` });
      for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, value);
      const { body } = await this.#rest.send({ method: 'GET', path: `/audit?${query}` });
      const page = jsonObject<{ records: unknown; next?: number }>(body);
      yield* objectsOf<AuditRecord>(page.records, 'at', 'type', 'hash');
      after = page.next;
    }
  }
}
