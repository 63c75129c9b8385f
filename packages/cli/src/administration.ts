import { type Command, Option } from 'commander';
import { collect, withConnection, withOutput } from './options.ts';

/** Adds the commands that administer a hub through its REST API. */
export function addAdministration(program: Command): void {
  addPolicy(program);
  addDevice(program);
  addModule(program);
  addAuthority(program);
  addDeviceStream(program);
}

function addPolicy(program: Command): void {
  const policy = program
    .command('policy')
    .description('shared access policies: what a service’s connection string may do');
  withOutput(policy.command('list').description('names and permissions')).action(async (flags) =>
    (await import('./commands/policy.ts')).listPolicies(flags),
  );
  withOutput(policy.command('show <name>').description('with its connection string')).action(
    async (name: string, flags) => (await import('./commands/policy.ts')).showPolicy(name, flags),
  );
  withOutput(
    policy.command('rotate <name>').description('a new primary key; the old one becomes the secondary'),
  ).action(async (name: string, flags) => (await import('./commands/policy.ts')).rotatePolicy(name, flags));
}

function addDevice(program: Command): void {
  const device = program.command('device').description('the devices the hub knows');
  const status = (): Option =>
    new Option('--status <status>', 'a disabled device is let in nowhere').choices(['enabled', 'disabled']);
  const reason = ['--status-reason <text>', 'why, for people'] as const;
  withAuthentication(
    withOutput(device.command('create <id>').description('register a device; shows its connection string')),
  )
    .addOption(status())
    .option(...reason)
    .action(async (id: string, flags) => (await import('./commands/device.ts')).createDevice(id, flags));
  withOutput(device.command('list').description('all devices')).action(async (flags) =>
    (await import('./commands/device.ts')).listDevices(flags),
  );
  withOutput(device.command('show <id>').description('one device; JSON holds its keys and connection string'))
    .option(...KEYS)
    .action(async (id: string, flags) => (await import('./commands/device.ts')).showDevice(id, flags));
  withAuthentication(withOutput(device.command('update <id>').description('change a device')))
    .addOption(status())
    .option(...reason)
    .option(...ROTATE_KEY)
    .option(...FORGET_HOST_KEYS)
    .action(async (id: string, flags) => (await import('./commands/device.ts')).updateDevice(id, flags));
  withConnection(
    device.command('delete <id>').description('forget a device and its modules; their streams end'),
  ).action(async (id: string, flags) => (await import('./commands/device.ts')).deleteDevice(id, flags));
}

function addModule(program: Command): void {
  const module = program
    .command('module')
    .description('the modules of a device: parts of it with a channel of their own');
  const managedBy = ['--managed-by <text>', 'which program made it, for people'] as const;
  withAuthentication(
    withOutput(
      module.command('create <device> <module>').description('register a module; shows its connection string'),
    ),
  )
    .option(...managedBy)
    .action(async (device: string, id: string, flags) =>
      (await import('./commands/module.ts')).createModule(device, id, flags),
    );
  withOutput(module.command('list <device>').description('all modules of a device')).action(
    async (device: string, flags) => (await import('./commands/module.ts')).listModules(device, flags),
  );
  withOutput(
    module.command('show <device> <module>').description('one module; JSON holds its keys and connection string'),
  )
    .option(...KEYS)
    .action(async (device: string, id: string, flags) =>
      (await import('./commands/module.ts')).showModule(device, id, flags),
    );
  withAuthentication(withOutput(module.command('update <device> <module>').description('change a module')))
    .option(...managedBy)
    .option(...ROTATE_KEY)
    .option(...FORGET_HOST_KEYS)
    .action(async (device: string, id: string, flags) =>
      (await import('./commands/module.ts')).updateModule(device, id, flags),
    );
  withConnection(module.command('delete <device> <module>').description('forget a module; its streams end')).action(
    async (device: string, id: string, flags) => (await import('./commands/module.ts')).deleteModule(device, id, flags),
  );
}

function addAuthority(program: Command): void {
  const ca = program
    .command('ca')
    .description('certificate authorities whose devices are let in: those registered with --auth ca');
  withOutput(ca.command('add <name>').description('trust an authority, or put it in the place of the one of that name'))
    .requiredOption('--file <file>', 'the authority’s certificate, PEM')
    .action(async (name: string, flags) => (await import('./commands/ca.ts')).addAuthority(name, flags));
  withOutput(ca.command('list').description('all authorities')).action(async (flags) =>
    (await import('./commands/ca.ts')).listAuthorities(flags),
  );
  withOutput(ca.command('show <name>').description('one authority; JSON holds its certificate')).action(
    async (name: string, flags) => (await import('./commands/ca.ts')).showAuthority(name, flags),
  );
  withConnection(
    ca.command('remove <name>').description('trust it no longer; channels and streams of its devices end'),
  ).action(async (name: string, flags) => (await import('./commands/ca.ts')).removeAuthority(name, flags));
}

function addDeviceStream(program: Command): void {
  const devicestream = program.command('devicestream').description('where device streams go');
  withConnection(devicestream.command('show').description('the hub’s host name and streaming endpoints'))
    .addOption(new Option('--output <format>').choices(['json', 'table']).default('json'))
    .action(async (flags) => (await import('./commands/devicestream.ts')).showDeviceStream(flags));
}

const KEYS = ['--keys', 'show the connection string in a table too'] as const;
const FORGET_HOST_KEYS = [
  '--forget-host-keys',
  'forget its SSH host keys, so that its agent registers new ones',
] as const;
const ROTATE_KEY = ['--rotate-key', 'a new primary key; the old one becomes the secondary'] as const;

/** Options for the authentication of a device or module. */
function withAuthentication(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--auth <type>',
        'sas: a key (default); self-signed: the certificates given here; ca: any of a known authority with the device id as common name; none: never let in',
      ).choices(['sas', 'self-signed', 'ca', 'none']),
    )
    .option(
      '--cert-file <file>',
      'a certificate it proves itself with, PEM; up to two, the second to follow the first',
      collect,
    )
    .option('--thumbprint <hex>', 'the same by SHA-256 or SHA-1', collect);
}
