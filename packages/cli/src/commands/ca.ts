import type { AuthorityView } from '@culvert/protocol';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { readCertificateFile } from '../secret-file.ts';
import { type OutputFormat, pairs, table, writeJson, writeOut } from '../standard-output.ts';

/** Flags of the `ca` commands. */
export type AuthorityFlags = ConnectionFlags & { readonly output: OutputFormat };

/** `culvert ca add NAME --file FILE`: devices with certificates of this authority are accepted if they are registered with `--auth ca`. */
export function addAuthority(name: string, flags: AuthorityFlags & { readonly file: string }): Promise<void> {
  const certificate = readCertificateFile(flags.file);
  return withClient(flags, 'iothubowner', async (client) => {
    await writeAuthority(await client.authorities.add(name, certificate), flags);
  });
}

/** `culvert ca list`. */
export function listAuthorities(flags: AuthorityFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    const authorities = await client.authorities.list();
    if (flags.output === 'json') return writeJson(authorities);
    const rows = authorities.map(({ name, notAfter, subject }) => [name, notAfter, subject]);
    return writeOut(table(['NAME', 'VALID UNTIL', 'SUBJECT'], rows));
  });
}

/** `culvert ca show NAME`: JSON output includes the certificate itself. */
export function showAuthority(name: string, flags: AuthorityFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    await writeAuthority(await client.authorities.get(name), flags);
  });
}

/** `culvert ca remove NAME`: devices that authenticated by this authority lose their control channels and streams. */
export function removeAuthority(name: string, flags: ConnectionFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    await client.authorities.remove(name);
    tell(`${name} was removed; its devices are no longer accepted`);
  });
}

function writeAuthority(authority: AuthorityView, flags: AuthorityFlags): Promise<void> {
  if (flags.output === 'json') return writeJson(authority);
  return writeOut(
    pairs([
      ['Name', authority.name],
      ['Subject', authority.subject],
      ['Thumbprint', authority.thumbprint],
      ['Valid from', authority.notBefore],
      ['Valid until', authority.notAfter],
    ]),
  );
}
