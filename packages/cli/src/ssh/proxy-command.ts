import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TrustFlags } from '../end-keys.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import type { HostKeyMode } from './host-key-modes.ts';
import { shellQuote, sshPercent } from './shell-quote.ts';

/** The command by which ssh starts this program again, whatever its PATH: the path of Node and of this package's `culvert`. */
export function thisProgram(): readonly string[] {
  return [process.execPath, fileURLToPath(new URL('../../bin/culvert.js', import.meta.url))];
}

/** How to treat a device's host keys, and the file where they are stored. */
export interface HostKeyPlace {
  readonly mode: HostKeyMode;
  readonly knownHosts: string;
}

/** The flags that name files, with absolute paths, so that they work in any directory. The connection string itself is never included. */
export function connectionArguments(flags: ConnectionFlags): readonly string[] {
  const named: [string, string | undefined][] = [
    ['--connection-string-file', path(flags.connectionStringFile)],
    ['--data-dir', path(flags.dataDir)],
    ['--ca-file', path(flags.caFile)],
    ['--proxy', flags.proxy],
    ...(flags.gateway ?? []).map((host): [string, string] => ['--gateway', host]),
  ];
  return named.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
}

/** Flags of `culvert connect` that ssh's ProxyCommand passes on. */
export interface StreamFlags extends ConnectionFlags, TrustFlags {
  /** In seconds. */
  readonly sessionRetention?: number;
  /** A stream of its own, without a session. */
  readonly raw?: boolean;
}

function streamArguments({ sessionRetention, raw, allowUnencrypted, fleetAuthority }: StreamFlags): readonly string[] {
  return [
    ...(sessionRetention === undefined ? [] : [`--session-retention=${sessionRetention}`]),
    ...(raw === true ? ['--raw'] : []),
    ...(allowUnencrypted === true ? ['--allow-unencrypted'] : []),
    ...(fleetAuthority === undefined ? [] : [`--fleet-authority=${resolve(fleetAuthority)}`]),
  ];
}

function path(value: string | undefined): string | undefined {
  return value === undefined ? undefined : resolve(value);
}

/**
 * The value of ssh's ProxyCommand. ssh expands `%` sequences in it and passes it to the user's shell, so every word is quoted for
 * both. Only the host may be the token `%n`, which ssh replaces by the host that the user typed.
 * @param host a name in the form of `hostName`, or `%n`
 */
export function proxyCommand(
  host: string,
  flags: StreamFlags,
  { mode, knownHosts }: HostKeyPlace,
  program: readonly string[] = thisProgram(),
): string {
  const keys = mode === 'accept-new' ? [] : [`--host-keys=${mode}`, `--known-hosts=${knownHosts}`];
  const quotedWords = [...program, 'connect', ...connectionArguments(flags), ...streamArguments(flags), ...keys].map(
    (word) => sshPercent(shellQuote(word)),
  );
  const name = host === '%n' ? host : sshPercent(host);
  return [...quotedWords, shellQuote(`--ssh-host=${name}`)].join(' ');
}
