import type { KeyObject } from 'node:crypto';
import { formatHostPort, type Side } from '@culvert/protocol';
import { type Grant, grantPath, signGrant } from '@culvert/protocol/grant';

/** Issues grants for one gateway: they contain its address and its boot id, and are signed with the key whose signatures it accepts. */
export class GrantIssuer {
  readonly #key: KeyObject;
  readonly #bootId: string;
  readonly #authority: () => { host: string; port: number };

  /** @param options.authority returns the host and port at which clients reach the gateway; called for each grant */
  constructor(options: { key: KeyObject; bootId: string; authority: () => { host: string; port: number } }) {
    this.#key = options.key;
    this.#bootId = options.bootId;
    this.#authority = options.authority;
  }

  /** Issues a grant for one side of a stream. The URL contains the port even when it is 443: Azure's C client needs it. */
  async issue(streamId: string, side: Side, expiresAt: number): Promise<Grant> {
    const { host, port } = this.#authority();
    const token = await signGrant({ streamId, side, audience: this.#bootId, expiresAt }, this.#key);
    return { url: `wss://${formatHostPort(host, port)}${grantPath(streamId, side)}`, token };
  }
}
