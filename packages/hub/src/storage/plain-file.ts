import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CulvertError } from '@culvert/protocol';

/** Windows has no such flag. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0;

/**
 * Opens a file to write to, as `fs.open` does, but never what a symbolic link in its place leads to: whoever can put a link there could
 * otherwise have the hub write to any file that it may write to.
 * @param flags of `fs.constants`
 * @param mode of a file that is made; default 0600
 * @throws CulvertError `config_invalid` for a link; else what the file system says
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
