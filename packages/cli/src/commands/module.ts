import { CulvertError, type ModuleIdentityInput } from '@culvert/protocol';
import { type AuthenticationFlags, authenticationInput, authenticationName } from '../authentication-flags.ts';
import { warnIfCertificateNeverAsked } from '../certificate-warning.ts';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { writeIdentity } from '../identity-output.ts';
import { tell } from '../messages.ts';
import { rotatedKey } from '../rotated-key.ts';
import { type OutputFormat, table, writeJson, writeOut } from '../standard-output.ts';

/** Flags of every `module` command. */
export type ModuleFlags = ConnectionFlags & { readonly output: OutputFormat };

/** The settings that `create` and `update` accept. */
export interface ModuleSettings extends AuthenticationFlags {
  readonly managedBy?: string;
}

/** `culvert module create DEVICE MODULE`: the only command that shows the connection string without a flag. */
export function createModule(deviceId: string, moduleId: string, flags: ModuleFlags & ModuleSettings): Promise<void> {
  const input = settings(flags);
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const module = await client.modules.create(deviceId, moduleId, input);
    await warnIfCertificateNeverAsked(client, module);
    await writeIdentity(module, hub, { ...flags, keys: true });
  });
}

/** `culvert module show DEVICE MODULE`: JSON output includes the keys; a table shows them only with `--keys`. */
export function showModule(
  deviceId: string,
  moduleId: string,
  flags: ModuleFlags & { readonly keys?: boolean },
): Promise<void> {
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const module = await client.modules.get(deviceId, moduleId);
    await writeIdentity(module, hub, { ...flags, keys: flags.keys === true || flags.output === 'json' });
  });
}

/** `culvert module update DEVICE MODULE`: fails when another client changed the module at the same time. */
export function updateModule(
  deviceId: string,
  moduleId: string,
  flags: ModuleFlags & ModuleSettings & { readonly rotateKey?: boolean; readonly forgetHostKeys?: boolean },
): Promise<void> {
  const forget = flags.forgetHostKeys === true ? { sshHostKeys: [] } : {};
  const input = { ...settings(flags), ...forget };
  const rotate = flags.rotateKey === true;
  if (!rotate && Object.keys(input).length === 0) {
    throw new CulvertError('usage', 'nothing to change: give --managed-by, --rotate-key, --forget-host-keys or --auth');
  }
  if (rotate && input.authentication !== undefined) {
    throw new CulvertError('usage', '--rotate-key keeps the authentication as it is: leave out --auth');
  }
  const name = `${deviceId}/${moduleId}`;
  return withClient(flags, 'iothubowner', async (client, hub) => {
    const { authentication, etag } = await client.modules.get(deviceId, moduleId);
    const rotated = rotate ? { authentication: rotatedKey(name, authentication) } : {};
    const module = await client.modules.update({ deviceId, moduleId, ...input, ...rotated }, { etag });
    if (input.authentication !== undefined) await warnIfCertificateNeverAsked(client, module);
    if (rotate) tell(`${name} has a new key; the one before works until it is rotated again`);
    if (flags.forgetHostKeys === true)
      tell(`the host keys of ${name} are forgotten; its agent sends them again when it attaches`);
    await writeIdentity(module, hub, { ...flags, keys: rotate || input.authentication !== undefined });
  });
}

/** `culvert module delete DEVICE MODULE`. */
export function deleteModule(deviceId: string, moduleId: string, flags: ConnectionFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    await client.modules.delete(deviceId, moduleId);
    tell(`${deviceId}/${moduleId} was deleted`);
  });
}

/** `culvert module list DEVICE`: never shows keys. */
export function listModules(deviceId: string, flags: ModuleFlags): Promise<void> {
  return withClient(flags, 'iothubowner', async (client) => {
    const modules = await client.modules.list(deviceId);
    if (flags.output === 'json') {
      const shown = modules.map(({ authentication: { type }, ...module }) => ({ ...module, authentication: { type } }));
      return writeJson(shown);
    }
    const rows = modules.map(({ moduleId, connectionState, authentication, managedBy }) => [
      moduleId,
      connectionState,
      authenticationName(authentication.type),
      managedBy ?? '',
    ]);
    return writeOut(table(['MODULE', 'CONNECTION', 'AUTHENTICATION', 'MANAGED BY'], rows));
  });
}

function settings(flags: ModuleSettings): ModuleIdentityInput {
  const authentication = authenticationInput(flags);
  return {
    ...(flags.managedBy === undefined ? {} : { managedBy: flags.managedBy }),
    ...(authentication === undefined ? {} : { authentication }),
  };
}
