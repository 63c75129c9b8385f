import type { AuditFilter, AuditRecord } from '@culvert/protocol';
import { jsonObject, objectsOf } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/** Records fetched at a time: the hub's most. */
const PAGE = 1_000;

/** The hub's audit record: every stream, and every change of who may do what. Needs the permission `MonitorRead`. */
export class Audit {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /** The records, oldest first, fetched page by page as they are taken. Ends where the record ended when it got there. */
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
