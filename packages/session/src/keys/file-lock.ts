import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { CulvertError } from '@culvert/protocol';
import { type Clock, delay } from '@culvert/stream';

/** Milliseconds between two attempts to take a lock that another program holds. A holder needs a few milliseconds. */
const RETRY_MS = 20;

/** Milliseconds after which a lock that did not change is considered left behind by a program that was killed. */
const ABANDONED_MS = 5_000;

/** Milliseconds after which an attempt to take a lock fails: time for two abandoned locks, and for many programs that take turns. */
const WAIT_MS = 15_000;

/** A lock that this program holds. */
export interface FileLock {
  /**
   * Checks that the lock is still held. Call it right before changing the file.
   * @throws CulvertError `internal` when this program was stopped for so long that another one considered the lock abandoned
   */
  assertHeld(): Promise<void>;
}

/**
 * Runs `action` while no other program that uses this function does so for the same file. The lock is the file `PATH.lock`, which contains a random text
 * of its holder. Whoever waits and sees the same text for {@link ABANDONED_MS} removes the lock: no clocks of different machines are compared.
 * @throws CulvertError `config_invalid` when another program holds the lock for longer than {@link WAIT_MS}; errors of the file system as they are
 */
export async function withFileLock<T>(path: string, clock: Clock, action: (lock: FileLock) => Promise<T>): Promise<T> {
  const lockPath = `${path}.lock`;
  const token = randomBytes(16).toString('hex');
  await take(lockPath, token, clock);
  try {
    return await action({
      async assertHeld() {
        if ((await readLock(lockPath)) !== token)
          throw new CulvertError('internal', `The lock on ${path} was lost while this program was stopped: try again.`);
      },
    });
  } finally {
    if ((await readLock(lockPath)) === token) await rm(lockPath, { force: true });
  }
}

/** Counts attempts instead of reading a clock: the time of day may be set while it waits. */
async function take(lockPath: string, token: string, clock: Clock): Promise<void> {
  let holder: string | undefined;
  let unchangedMs = 0;
  for (let waitedMs = 0; !(await create(lockPath, token)); waitedMs += RETRY_MS) {
    if (waitedMs >= WAIT_MS) throw busy(lockPath);
    const current = await readLock(lockPath);
    unchangedMs = current === holder ? unchangedMs + RETRY_MS : 0;
    holder = current;
    if (holder !== undefined && unchangedMs >= ABANDONED_MS) await removeAbandoned(lockPath, holder);
    await delay(clock, RETRY_MS);
  }
}

function busy(lockPath: string): CulvertError {
  return new CulvertError(
    'config_invalid',
    `Another program has held ${lockPath} for ${WAIT_MS / 1_000} s. If no other culvert runs, delete that file.`,
  );
}

/** Creates the lock file; false when it exists. */
async function create(lockPath: string, token: string): Promise<boolean> {
  try {
    await using file = await open(lockPath, 'wx', 0o600);
    await file.writeFile(token);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** The text in the lock file; undefined when there is none. */
async function readLock(lockPath: string): Promise<string | undefined> {
  try {
    return await readFile(lockPath, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Removes the lock of `holder`. It is renamed first: between reading and removing, another program may have replaced it by its own. */
export async function removeAbandoned(lockPath: string, holder: string): Promise<void> {
  const aside = `${lockPath}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(lockPath, aside);
    if ((await readLock(aside)) !== holder) await link(aside, lockPath);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Another program has removed it too, or has taken the lock meanwhile: `assertHeld` tells its former holder.
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}
