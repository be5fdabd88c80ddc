/** Files of the user's own. */
import { readFile, stat } from 'node:fs/promises';
import { DataFileError, DatasetUnavailableError } from '../../src/contracts';

/** What a path that cannot be read is called. @throws DatasetUnavailableError */
export function unreadable(kind: string, path: string, cause: unknown, wanted = 'file'): never {
  const { code } = cause as NodeJS.ErrnoException;
  const what =
    code === 'ENOENT' ? `there is no ${wanted} "${path}"` : `"${path}" cannot be read (${code ?? String(cause)})`;
  throw new DatasetUnavailableError(`${kind}: ${what}. Give data.path the path of a ${wanted}.`, { cause });
}

/** The bytes of a file of at most `most`. @throws DatasetUnavailableError, DataFileError */
export async function readOwn(path: string, kind: string, most: number): Promise<Buffer> {
  let found;
  try {
    found = await stat(path);
  } catch (cause) {
    return unreadable(kind, path, cause);
  }
  if (found.isDirectory()) throw new DataFileError(path, {}, 'a file', 'a folder');
  if (!found.isFile()) throw new DataFileError(path, {}, 'a file', 'something that is none');
  if (found.size > most) throw new DataFileError(path, {}, `at most ${most} bytes`, String(found.size));
  try {
    return await readFile(path);
  } catch (cause) {
    return unreadable(kind, path, cause);
  }
}
