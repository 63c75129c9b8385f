import { readdir, readFile } from 'node:fs/promises';

/** The stored inputs of a fuzzer: the files of `fuzz/corpus/{folder}` whose names begin with `prefix`, in the order of their names. */
export async function corpus(folder: string, prefix: string): Promise<Buffer[]> {
  const directory = new URL(`./corpus/${folder}/`, import.meta.url);
  const names = (await readdir(directory)).filter((name) => name.startsWith(prefix)).sort();
  return Promise.all(names.map((name) => readFile(new URL(name, directory))));
}
