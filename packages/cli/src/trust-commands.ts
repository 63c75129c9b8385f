import type { Command } from 'commander';
import { withOutput } from './options.ts';

const HUB = [
  '--hub <host[:port]>',
  'as in connection strings (default: the hub that the other options or the environment name)',
] as const;
const MODULE = ['--module <id>', 'a module of the device instead'] as const;

/** Adds the commands for the keys by which this user and the devices recognise each other. */
export function addTrust(program: Command): void {
  const trust = program
    .command('trust')
    .description(
      'the keys of devices that this user knows, and this user’s own: who is at the other end, whatever the hub says',
    );
  withOutput(trust.command('list').description('all pinned keys'))
    .option('--hub <host[:port]>', 'only those of this hub')
    .action(async (flags) => (await import('./commands/trust.ts')).listTrust(flags));
  withOutput(trust.command('show [device]').description('this user’s own fingerprint, or the pinned key of a device'))
    .option(...HUB)
    .option(...MODULE)
    .action(async (device: string | undefined, flags) =>
      (await import('./commands/trust.ts')).showTrust(device, flags),
    );
  withOutput(
    trust
      .command('add <device> <fingerprint>')
      .description('pin the key that the agent printed at its start; replaces another'),
  )
    .option(...HUB)
    .option(...MODULE)
    .action(async (device: string, fingerprint: string, flags) =>
      (await import('./commands/trust.ts')).addTrust(device, fingerprint, flags),
    );
  withOutput(trust.command('forget <device>').description('after the device was set up again: accept its next key'))
    .option(...HUB)
    .option(...MODULE)
    .action(async (device: string, flags) => (await import('./commands/trust.ts')).forgetTrust(device, flags));
}
