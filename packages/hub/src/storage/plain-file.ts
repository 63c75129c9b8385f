import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CulvertError } from '@culvert/protocol';

/** The flag that refuses symbolic links; 0 on Windows, which does not have it. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0;

/**
 * Opens a file for writing, as `fs.open` does, but refuses a symbolic link at its path: otherwise a user who can create a link there could make the hub
 * write to any file that the hub has write access to.
 * @param flags from `fs.constants`
 * @param mode the mode of a file that is created; default 0600
 * @throws CulvertError `config_invalid` for a link; other errors are those of the file system
 */
export async function openPlainFile(path: string, flags: number, mode = 0o600): Promise<FileHandle> {
  try {
    return await open(path, flags | NO_FOLLOW, mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOOP') throw error;
    const text = `${path} is a symbolic link, which the hub does not write through: put a file in its place, or name the file it leads to.`;
    throw new CulvertError('config_invalid', text, { cause: error });
  }
}
