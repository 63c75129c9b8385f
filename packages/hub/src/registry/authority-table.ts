import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { CulvertError } from '@culvert/protocol';
import type { AuthorityRecord } from './registry.ts';

/** Maximum registered authorities. All are read for every device that presents a certificate, at about thirty microseconds each. */
export const MAX_AUTHORITIES = 50;

/** The database table of registered certificate authorities. */
export class AuthorityTable {
  readonly #get;
  readonly #list;
  readonly #put;
  readonly #delete;

  constructor(database: DatabaseSync) {
    this.#get = database.prepare('SELECT * FROM authority WHERE name = ?');
    this.#list = database.prepare('SELECT * FROM authority ORDER BY name');
    this.#put = database.prepare(
      `INSERT INTO authority (name, certificate, thumbprint) VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET certificate = excluded.certificate, thumbprint = excluded.thumbprint`,
    );
    this.#delete = database.prepare('DELETE FROM authority WHERE name = ?');
  }

  get(name: string): AuthorityRecord | undefined {
    const row = this.#get.get(name);
    return row === undefined ? undefined : record(row);
  }

  list(): AuthorityRecord[] {
    return this.#list.all().map(record);
  }

  put({ name, certificate, thumbprint }: AuthorityRecord): AuthorityRecord[] {
    if (this.get(name) === undefined && this.list().length >= MAX_AUTHORITIES) {
      throw new CulvertError('limit_reached', `There are ${MAX_AUTHORITIES} certificate authorities already.`);
    }
    this.#put.run(name, certificate, thumbprint);
    return this.list();
  }

  delete(name: string): AuthorityRecord[] {
    if (this.#delete.run(name).changes === 0) throw new CulvertError('authority_not_found');
    return this.list();
  }
}

function record(row: Record<string, SQLOutputValue>): AuthorityRecord {
  return {
    name: String(row['name']),
    certificate: String(row['certificate']),
    thumbprint: String(row['thumbprint']),
  };
}
