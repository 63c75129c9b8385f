import { type AuthorityView, parseAuthorityName } from '@culvert/protocol';
import { jsonObject, objectsOf } from './json-answer.ts';
import type { RestClient } from './rest-client.ts';

/**
 * The certificate authorities that may issue device certificates. They apply to devices with the authentication type `certificateAuthority`; the
 * common name of the certificate must be the device id. No other authority is trusted for a device. Every method rejects with a CulvertError.
 */
export class Authorities {
  readonly #rest: RestClient;

  /** @internal */
  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  /**
   * Registers an authority, or replaces the one with this name.
   * @param name 1 to 64 letters, digits, `.`, `-` or `_`
   * @param certificate the authority's certificate, PEM
   * @throws CulvertError `argument_invalid` if the certificate is not that of an authority or has expired; `limit_reached` for more than 50 authorities
   */
  async add(name: string, certificate: string): Promise<AuthorityView> {
    return view((await this.#rest.send({ method: 'PUT', path: path(name), body: { certificate } })).body);
  }

  /** @throws CulvertError `authority_not_found` */
  async get(name: string): Promise<AuthorityView> {
    return view((await this.#rest.send({ method: 'GET', path: path(name) })).body);
  }

  /** Returns all authorities, ordered by name. */
  async list(): Promise<AuthorityView[]> {
    const answer = await this.#rest.send({ method: 'GET', path: '/certificate-authorities' });
    const { authorities } = jsonObject<{ authorities: unknown }>(answer.body);
    return objectsOf<AuthorityView>(authorities, 'name', 'thumbprint', 'certificate');
  }

  /**
   * Removes an authority. The control channels and streams of devices that authenticated with its certificates end within a second.
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
