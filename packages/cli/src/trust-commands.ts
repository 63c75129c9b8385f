import type { Command } from 'commander';
import { PINS_ENVIRONMENT } from './help-text.ts';
import { withFormat, withHubName } from './options.ts';

const MODULE = ['--module <id>', 'a module of the device instead'] as const;

/** Adds the commands for the keys by which this user and the devices recognise each other. */
export function addTrust(program: Command): void {
  const trust = program
    .command('trust')
    .description(
      'the keys of devices that this user knows, and this user’s own: who is at the other end, whatever the hub says',
    );
  withFormat(trust.command('list').description('all pinned keys'))
    .option('--hub <host[:port]>', 'only those of this hub')
    .addHelpText('after', PINS_ENVIRONMENT)
    .action(async (flags) => (await import('./commands/trust.ts')).listTrust(flags));
  withFormat(
    withHubName(
      trust.command('show [device]').description('this user’s own fingerprint, or the pinned key of a device'),
    ),
  )
    .option(...MODULE)
    .action(async (device: string | undefined, flags) =>
      (await import('./commands/trust.ts')).showTrust(device, flags),
    );
  withFormat(
    withHubName(
      trust
        .command('add <device> <fingerprint>')
        .description('pin the key that the agent printed at its start; replaces another'),
    ),
  )
    .option(...MODULE)
    .action(async (device: string, fingerprint: string, flags) =>
      (await import('./commands/trust.ts')).addTrust(device, fingerprint, flags),
    );
  withFormat(
    withHubName(trust.command('forget <device>').description('after the device was set up again: accept its next key')),
  )
    .option(...MODULE)
    .action(async (device: string, flags) => (await import('./commands/trust.ts')).forgetTrust(device, flags));
}
