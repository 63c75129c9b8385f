import { createPublicKey, type KeyObject } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { type AuditVerdict, listSegments, MAX_FINDINGS, verifyAudit } from '@culvert/hub/audit';
import { CulvertError } from '@culvert/protocol';
import { fileProblem } from '@culvert/stream';
import { defaultDataDirectory } from '../data-directory.ts';
import { tell } from '../messages.ts';
import { readSmallFile } from '../secret-file.ts';
import { writeJson, writeOut } from '../standard-output.ts';

/** Flags of `culvert audit verify`. */
export interface AuditVerifyFlags {
  readonly publicKey?: string;
  readonly checkpoints?: readonly string[];
  readonly from?: string;
  readonly allowUnsigned?: boolean;
  readonly dataDir?: string;
  readonly output: 'json' | 'text';
}

/**
 * `culvert audit verify [DIR|FILE…]`: verifies audit files without a hub. Each finding is one line on stdout.
 * @returns 0 when there are no findings, else 1
 * @throws CulvertError `config_invalid` for a file that cannot be read, `usage` for wrong flags
 */
export async function verifyAuditFiles(paths: readonly string[], flags: AuditVerifyFlags): Promise<number> {
  const fromSeq = flags.from === undefined ? 1 : Number(flags.from);
  if (!Number.isSafeInteger(fromSeq) || fromSeq < 1) {
    throw new CulvertError('usage', `--from '${flags.from}' is not the number of a record`);
  }
  const env = process.env;
  const directory =
    flags.dataDir ?? env['CULVERT_DATA_DIR'] ?? defaultDataDirectory(env, process.getuid?.(), homedir());
  try {
    const audit = await lookedAt(paths.length === 0 ? [join(directory, 'audit')] : paths, flags);
    const verdict = await verifyAudit({ ...audit, fromSeq, allowUnsigned: flags.allowUnsigned ?? false });
    await (flags.output === 'json' ? writeJson(verdict) : printVerdict(verdict));
    return verdict.findings.length === 0 ? 0 : 1;
  } catch (error) {
    if (error instanceof CulvertError || !(error instanceof Error)) throw error;
    const { path } = error as NodeJS.ErrnoException;
    throw new CulvertError(
      'config_invalid',
      `cannot read ${path ?? 'the audit record'}: ${fileProblem(error)}; name the hub's data directory (--data-dir DIR), or the audit record's directory or files`,
      { cause: error },
    );
  }
}

/** Resolves the paths. A directory means its record files, and adds its own checkpoints; its public key is used if no other is given. */
async function lookedAt(paths: readonly string[], flags: AuditVerifyFlags) {
  const directories = paths.filter((path) => statSync(path).isDirectory());
  const files: string[] = [];
  for (const path of paths) {
    if (directories.includes(path)) files.push(...(await listSegments(path)).map((segment) => segment.path));
    else files.push(path);
  }
  if (files.length === 0)
    throw new CulvertError(
      'config_invalid',
      `there is no audit record in ${paths.join(', ')}; name the hub's data directory (--data-dir DIR), or the audit record's directory or files`,
    );
  const own = directories.map((path) => join(path, 'checkpoints.jsonl')).filter((path) => existsSync(path));
  for (const path of flags.checkpoints ?? []) statSync(path);
  const checkpointFiles = [...own, ...(flags.checkpoints ?? [])];
  const keyFile = flags.publicKey ?? join(directories[0] ?? dirname(files[0] as string), 'public.pem');
  return { files, checkpointFiles, publicKey: readKey(keyFile) };
}

function readKey(path: string): KeyObject {
  if (!existsSync(path)) {
    throw new CulvertError('usage', `there is no ${path}: give --public-key FILE, the hub's audit/public.pem`);
  }
  const text = readSmallFile(path);
  try {
    const key = createPublicKey(text);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // The error below explains it.
  }
  throw new CulvertError('config_invalid', `${path} is not an Ed25519 public key in PEM`);
}

async function printVerdict({ findings, records, lastSeq, vouchedSeq }: AuditVerdict): Promise<void> {
  const lines = findings.map(({ file, line, problem }) => `${file}${line === undefined ? '' : `:${line}`}: ${problem}`);
  await writeOut(lines.map((line) => `${line}\n`).join(''));
  if (findings.length >= MAX_FINDINGS) tell(`only the first ${MAX_FINDINGS} findings are shown`);
  if (findings.length > 0) {
    const count = findings.length === 1 ? '1 finding' : `${findings.length} findings`;
    tell(`${records} records, ${count}: do not rely on this audit record`);
    return;
  }
  const behind = lastSeq - vouchedSeq;
  const vouched = vouchedSeq === 0 ? 'no checkpoint vouches for them' : `signed up to record ${vouchedSeq}`;
  const loose = behind === 0 || vouchedSeq === 0 ? '' : `; the last ${behind} are unsigned; later ones may be missing`;
  await writeOut(`${records} records up to ${lastSeq}, unbroken; ${vouched}${loose}\n`);
}
