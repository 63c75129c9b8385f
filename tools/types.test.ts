import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly files?: readonly string[];
  readonly exports?: object;
  readonly dependencies?: Readonly<Record<string, string>>;
}

const manifestAt = (directory: string): Manifest =>
  JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest;

/** The directory of each of our packages, by package name. */
const ours = new Map(
  globSync('packages/*/package.json', { cwd: root })
    .map((path) => join(root, path, '..'))
    .map((directory) => [manifestAt(directory).name, directory] as const),
);

let project: string;
afterEach(() => rmSync(project, { recursive: true, force: true }));

/** Installs packages into a project as npm does: each workspace package as it is packed, with only the dependencies that it declares. */
function install(names: readonly string[]): void {
  const installed = new Set<string>();
  const add = (name: string, from: string): void => {
    if (installed.has(name)) return;
    installed.add(name);
    const home = ours.get(name);
    // If a dependency exists in two versions, npm installs one of them in the directory of the package that needs it.
    const nested = join(from, 'node_modules', name);
    const source = home ?? (existsSync(nested) ? nested : join(root, 'node_modules', name));
    const target = join(project, 'node_modules', name);
    const manifest = manifestAt(source);
    mkdirSync(dirname(target), { recursive: true });
    if (home === undefined) symlinkSync(source, target);
    else
      for (const file of ['package.json', ...(manifest.files ?? [])])
        cpSync(join(home, file), join(target, file), { recursive: true });
    for (const dependency of Object.keys(manifest.dependencies ?? {})) add(dependency, source);
  };
  for (const name of names) add(name, root);
}

/** Compiles a program in a project with these packages, with TypeScript's strictest options, and returns the compiler's output. */
async function compile(names: readonly string[], program: string): Promise<string> {
  project = mkdtempSync(join(tmpdir(), 'culvert-types-'));
  // A project for Node has Node's types.
  install([...names, '@types/node']);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(join(project, 'program.ts'), program);
  const compilerOptions = {
    ...{ module: 'nodenext', target: 'es2023', strict: true, noEmit: true, skipLibCheck: false },
    types: ['node'],
    // Resolve the imports of a linked package from the place of the link, so that it finds the project's packages and not the workspace's.
    preserveSymlinks: true,
    ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  try {
    await promisify(execFile)(process.execPath, [tsc, '-p', project, '--pretty', 'false']);
    return '';
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    return `${stdout}${stderr}`;
  }
}

it('a program with the SDKs compiles with skipLibCheck false', async () => {
  const program = `
import { DeviceClient, type StreamOffer } from '@culvert/device';
import { ServiceClient } from '@culvert/service';

async function echo(offer: StreamOffer): Promise<void> {
  if (offer.name === 'bytes') {
    const stream = await offer.accept();
    stream.pipe(stream);
    return;
  }
  const socket = await offer.acceptWebSocket();
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.resume();
}

export const device = DeviceClient.fromConnectionString('', { onStream: echo });
export const service = ServiceClient.fromConnectionString('');
const socket = await service.openWebSocket('press-7', { name: 'messages' });
const state: number = socket.readyState;
export const right = state;
`;
  const names = ['@culvert/device', '@culvert/service'];
  expect(await compile(names, program)).toBe('');
  // The type of the WebSocket is not `any`, so a wrong assignment is an error.
  rmSync(project, { recursive: true, force: true });
  const wrong = await compile(names, `${program}export const wrong: string = socket.readyState;`);
  expect(wrong.match(/error TS/g)).toHaveLength(1);
  expect(wrong).toMatch(/^\S*program\.ts\(\d+,\d+\): error TS2322: /);
});

it('so does one that imports any other workspace package that has types', async () => {
  const names = [...ours.keys()].filter(
    (name) => name !== 'culvert' && manifestAt(ours.get(name) ?? '').private !== true,
  );
  const modules = names.flatMap((name) =>
    Object.keys(manifestAt(ours.get(name) ?? '').exports ?? {}).map((path) => join(name, path)),
  );
  const program = modules.map((module, index) => `export * as m${index} from '${module}';`).join('\n');
  expect(await compile(names, program)).toBe('');
});
