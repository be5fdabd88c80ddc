/** The data set `text`: a text file of the user's. */
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { z } from 'zod';
import { ConfigurationError, DatasetUnavailableError, type Dataset } from '../../src/contracts';
import { textDataset, textOptions, type TextOptions } from '../text';

/** Windows of a text are kept in memory, twice. */
const MOST_BYTES = 256 * 2 ** 20;

export const textFileOptions = textOptions.extend({
  /** A file of UTF-8 text. */
  path: z.string().min(1),
});
export interface TextFileOptions extends TextOptions {
  readonly path: string;
}

async function readText(path: string): Promise<string> {
  const fail = (got: string): never => {
    throw new ConfigurationError('data.path', 'a file of UTF-8 text', got);
  };
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > MOST_BYTES) fail(`"${path}", which has ${size} bytes: more than ${MOST_BYTES}`);
    bytes = await readFile(path);
  } catch (cause) {
    if (cause instanceof ConfigurationError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EISDIR') return fail(`"${path}", which is a folder`);
    throw new DatasetUnavailableError(
      code === 'ENOENT'
        ? `text: there is no file "${path}". Give data.path the path of a text file.`
        : `text: "${path}" cannot be read (${code ?? String(cause)}). Give data.path the path of a text file.`,
      { cause },
    );
  }
  if (bytes.includes(0)) return fail(`"${path}", which has a zero byte at ${bytes.indexOf(0)}: a binary file`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail(`"${path}", whose bytes are no UTF-8`);
  }
}

/**
 * Windows of a text file: `textDataset` of its contents.
 * @throws DatasetUnavailableError if there is no such file; ConfigurationError if it is no text, or too short.
 */
export async function textFile(options: TextFileOptions): Promise<Dataset> {
  const { path, ...rest } = options;
  const text = await readText(path);
  return textDataset({ ...rest, text, name: `text ${basename(path)}` }, `data.path "${path}"`);
}
