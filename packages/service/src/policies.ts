import type { PolicyView } from '@culvert/protocol';
import { jsonObject, objectsOf } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/** The hub's shared access policies. Requires the permission `PolicyManage`, which only `iothubowner` has. */
export class Policies {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /** Returns all policies, with their keys. */
  async list(): Promise<PolicyView[]> {
    const answer = await this.#rest.send({ method: 'GET', path: '/policies' });
    const { policies } = jsonObject<{ policies: unknown }>(answer.body);
    return objectsOf<PolicyView>(policies, 'name', 'primaryKey', 'connectionString');
  }

  /** @throws CulvertError `policy_not_found` */
  async get(name: string): Promise<PolicyView> {
    return view((await this.#rest.send({ method: 'GET', path: path(name) })).body);
  }

  /**
   * Makes the primary key the secondary key, and generates a new primary key. Connection strings with the old primary key remain valid until the next
   * rotation.
   * @throws CulvertError `policy_not_found`
   */
  async rotate(name: string): Promise<PolicyView> {
    return view((await this.#rest.send({ method: 'POST', path: `${path(name)}/rotate` })).body);
  }
}

function path(name: string): string {
  return `/policies/${encodeURIComponent(name)}`;
}

function view(body: string): PolicyView {
  return jsonObject<PolicyView>(body, 'name', 'primaryKey', 'connectionString');
}
