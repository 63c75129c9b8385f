import type { PolicyView } from '@culvert/protocol';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { type OutputFormat, pairs, table, writeJson, writeOut } from '../standard-output.ts';

/** Flags of the `policy` commands. */
export type PolicyFlags = ConnectionFlags & { readonly output: OutputFormat };

/** `culvert policy list`: names and permissions, no keys. */
export function listPolicies(flags: PolicyFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    const policies = await client.policies.list();
    if (flags.output === 'json') return writeJson(policies.map(({ name, permissions }) => ({ name, permissions })));
    return writeOut(
      table(
        ['POLICY', 'PERMISSIONS'],
        policies.map(({ name, permissions }) => [name, permissions.join(', ')]),
      ),
    );
  });
}

/** `culvert policy show NAME`: with its connection string. */
export function showPolicy(name: string, flags: PolicyFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => writePolicy(await client.policies.get(name), flags));
}

/** `culvert policy rotate NAME`: makes a new primary key. The old primary key becomes the secondary one, so connection strings in use still work. */
export function rotatePolicy(name: string, flags: PolicyFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    const policy = await client.policies.rotate(name);
    tell(`${name} has a new key; connection strings with the one before work until it is rotated again`);
    await writePolicy(policy, flags);
  });
}

function writePolicy(policy: PolicyView, flags: PolicyFlags): Promise<void> {
  if (flags.output === 'json') return writeJson(policy);
  return writeOut(
    pairs([
      ['Policy', policy.name],
      ['Permissions', policy.permissions.join(', ')],
      ['Connection string', policy.connectionString],
    ]),
  );
}
