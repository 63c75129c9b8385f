import { AUDIT_TYPES } from '@culvert/protocol';
import { type Command, Option } from 'commander';
import { LOCAL_ENVIRONMENT } from './help-text.ts';
import { collect, type OnExitCode, withConnection, withOutput } from './options.ts';

/** Adds the commands that show streams, logs, limits and the audit record through the hub's REST API. */
export function addMonitoring(program: Command, onExitCode: OnExitCode): void {
  addStreams(program);
  addLogs(program);
  addAudit(program, onExitCode);
}

function addStreams(program: Command): void {
  const streams = program.command('streams').description('the streams there are now');
  withOutput(streams.command('list').description('who reaches what'))
    .option('--device <id>', 'only to this device')
    .option('--module <id>', 'only to modules of this id')
    .option('--caller <principal>', 'only asked for by this one, such as policy:service')
    .option('--follow', 'go on with what happens to them, a line each')
    .action(async (flags) => (await import('./commands/streams.ts')).listStreams(flags));
  withOutput(streams.command('show <id>').description('one stream')).action(async (id: string, flags) =>
    (await import('./commands/streams.ts')).showStream(id, flags),
  );
  withConnection(
    streams.command('close <id>').description('end a stream, or a session by its id; both ends are told why'),
  )
    .option('--reason <text>', 'what they are told, at most 80 characters')
    .action(async (id: string, flags) => (await import('./commands/streams.ts')).closeStream(id, flags));
  withOutput(program.command('limits').description('limits on streams, and how near they are')).action(async (flags) =>
    (await import('./commands/limits.ts')).limits(flags),
  );
}

function addLogs(program: Command): void {
  withOutput(program.command('logs').description('who reached what, when, how much, and why it ended'))
    .option('--device <id>', 'only of this device')
    .option('--module <id>', 'only of this module of it')
    .option('--stream <id>', 'only of this stream')
    .option('--category <name>', 'DeviceStreams or Connections')
    .option('--result <result>', 'ok, failed, a code such as 404103, or an error such as device_offline')
    .option('--since <time>', 'all since: 1h ago (s, m, h, d, w), or 2026-01-31T12:00Z')
    .option('--until <time>', 'nothing from then on')
    .option('--limit <n>', 'show only the newest N (default 100, without --since)')
    .option('--follow', 'what comes, and with --since what came since; goes on over restarts of the hub')
    .action(async (flags) => (await import('./commands/logs.ts')).logs(flags));
}

function addAudit(program: Command, onExitCode: OnExitCode): void {
  const audit = program.command('audit').description('the record of who reached what, chained and signed');
  withOutput(audit.command('list').description('records, oldest first; JSON is one a line'))
    .option('--device <id>', 'of one device and its modules')
    .option('--since <time>', 'an age such as 15m, 1h or 7d, or a date or time')
    .option('--until <time>', 'the same')
    .addOption(new Option('--type <type>', 'of one type').choices(AUDIT_TYPES))
    .option('--limit <n>', 'show only the newest N')
    .action(async (flags) => (await import('./commands/audit.ts')).listAudit(flags));
  audit
    .command('verify [path...]')
    .description(
      'look for changed, missing, moved and cut-off records, without a hub (default: the hub’s data directory)',
    )
    .option('--public-key <file>', 'the hub’s audit/public.pem, best from a copy kept elsewhere')
    .option('--checkpoints <file>', 'checkpoints that were sent off the machine; repeatable', collect)
    .option('--from <seq>', 'the first record that is expected, when older files were put away')
    .option(
      '--allow-unsigned',
      'be content with records that no checkpoint vouches for, as before the first one was signed',
    )
    .option('--data-dir <dir>', 'on the hub’s machine: its data directory (default: the hub’s own default)')
    .addOption(new Option('--output <format>').choices(['text', 'json']).default('text'))
    .addHelpText('after', LOCAL_ENVIRONMENT)
    .action(async (paths: string[], flags) =>
      onExitCode(await (await import('./commands/audit-verify.ts')).verifyAuditFiles(paths, flags)),
    );
}
