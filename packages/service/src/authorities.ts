import { type AuthorityView, parseAuthorityName } from '@culvert/protocol';
import { jsonObject, objectsOf } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/**
 * The certificate authorities whose devices the hub lets in: those of type `certificateAuthority`, each with a certificate whose common
 * name is the device id. No other authority is ever trusted for a device. Every method rejects with a CulvertError.
 */
export class Authorities {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /**
   * Registers an authority, or puts it in the place of the one of that name.
   * @param name 1 to 64 letters, digits, `.`, `-` or `_`
   * @param certificate the authority's certificate, PEM
   * @throws CulvertError `argument_invalid` when it is not that of an authority, or has expired; `limit_reached` beyond 50
   */
  async add(name: string, certificate: string): Promise<AuthorityView> {
    return view((await this.#rest.send({ method: 'PUT', path: path(name), body: { certificate } })).body);
  }

  /** @throws CulvertError `authority_not_found` */
  async get(name: string): Promise<AuthorityView> {
    return view((await this.#rest.send({ method: 'GET', path: path(name) })).body);
  }

  /** All, ordered by name. */
  async list(): Promise<AuthorityView[]> {
    const answer = await this.#rest.send({ method: 'GET', path: '/certificate-authorities' });
    const { authorities } = jsonObject<{ authorities: unknown }>(answer.body);
    return objectsOf<AuthorityView>(authorities, 'name', 'thumbprint', 'certificate');
  }

  /**
   * Trusts the authority no longer: the control channels and streams of devices that came by it end within a second.
   * @throws CulvertError `authority_not_found`
   */
  async remove(name: string): Promise<void> {
    await this.#rest.send({ method: 'DELETE', path: path(name) });
  }
}

function path(name: string): string {
  return `/certificate-authorities/${encodeURIComponent(parseAuthorityName(name))}`;
}

function view(body: string): AuthorityView {
  return jsonObject<AuthorityView>(body, 'name', 'thumbprint', 'certificate');
}
