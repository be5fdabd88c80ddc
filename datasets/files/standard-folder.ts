/** Folders of the files that image sets were published as. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { DatasetError, DatasetUnavailableError } from '../../src/contracts';
import { parseIdx } from '../idx';
import type { LabelledImages } from '../image-dataset';
import type { ImageHalves } from './image-store';

/** Images of a folder, and a short name of their content. */
export interface FolderImages extends ImageHalves {
  /** Part of the names of tables: two folders may differ. */
  readonly content: string;
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

const plainView = ({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** One of the files of a folder: under the first of its names that is there. */
async function readOneOf(folder: string, names: readonly string[]): Promise<{ path: string; bytes: Uint8Array }> {
  for (const name of names) {
    const path = join(folder, name);
    try {
      return { path, bytes: plainView(await readFile(path)) };
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT' || codeOf(cause) === 'ENOTDIR') continue;
      throw new DatasetError(`${path}: expected a readable file, got ${codeOf(cause)}.`, { cause });
    }
  }
  throw new DatasetUnavailableError(
    `data.folder: expected the file ${names.join(' or ')} in ${folder}, found none. Put it there, or name another folder.`,
  );
}

/** The numbers of `name` or `name.gz`. `bytes` is what unpacking may give at most. */
async function readIdxFile(folder: string, name: string, shape: readonly number[]): Promise<Uint8Array> {
  const { path, bytes } = await readOneOf(folder, [name, `${name}.gz`]);
  if (!path.endsWith('.gz')) return parseIdx(bytes, path, shape, 'Put the published file there.');
  const limit = 2 * (64 + shape.reduce((a, b) => a * b, 1));
  let unpacked: Uint8Array;
  try {
    unpacked = plainView(await promisify(gunzip)(bytes, { maxOutputLength: limit }));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DatasetError(
      `${path}: expected a whole gzip file, got ${bytes.length} bytes that do not unpack (${reason}). Put the published file there.`,
      { cause },
    );
  }
  return parseIdx(unpacked, path, shape, 'Put the published file there.');
}

function contentName({ train, test }: ImageHalves): string {
  const hash = createHash('sha256');
  for (const { pixels, labels } of [train, test]) hash.update(pixels).update(labels);
  return hash.digest('hex').slice(0, 16);
}

/**
 * MNIST's four files and those of its relatives, gzipped (`.gz`) or not, in their order.
 * @param rows Images in the two halves.
 * @throws DatasetUnavailableError for a file that is not there. @throws DatasetError for one that is damaged.
 */
export async function readIdxFolder(folder: string, rows = { train: 60000, test: 10000 }): Promise<FolderImages> {
  const half = async (prefix: string, count: number): Promise<LabelledImages> => {
    const [pixels, labels] = await Promise.all([
      readIdxFile(folder, `${prefix}-images-idx3-ubyte`, [count, 28, 28]),
      readIdxFile(folder, `${prefix}-labels-idx1-ubyte`, [count]),
    ]);
    return { rows: count, height: 28, width: 28, channels: 1, pixels, labels };
  };
  const halves = { train: await half('train', rows.train), test: await half('t10k', rows.test) };
  return { ...halves, content: contentName(halves) };
}

const [SIDE, CHANNELS] = [32, 3];
const PLANE = SIDE * SIDE;
/** A label, then a plane of each colour. */
const RECORD = 1 + CHANNELS * PLANE;

/**
 * CIFAR-10's six binary files, in their order; colours are interleaved to [rows, 32, 32, 3].
 * @param perFile Images in a file.
 * @throws DatasetUnavailableError for a file that is not there. @throws DatasetError for one of another size.
 */
export async function readCifarFolder(folder: string, perFile = 10000): Promise<FolderImages> {
  const half = async (files: readonly string[]): Promise<LabelledImages> => {
    const rows = files.length * perFile;
    const pixels = new Uint8Array(rows * PLANE * CHANNELS);
    const labels = new Uint8Array(rows);
    for (const [index, file] of files.entries()) {
      const { path, bytes } = await readOneOf(folder, [file]);
      if (bytes.length !== perFile * RECORD) {
        throw new DatasetError(
          `${path}: expected a size of ${perFile * RECORD} bytes, got ${bytes.length} bytes. Put the published file there.`,
        );
      }
      for (let i = 0; i < perFile; i++) {
        const row = index * perFile + i;
        const from = i * RECORD;
        labels[row] = bytes[from];
        for (let pixel = 0; pixel < PLANE; pixel++) {
          for (let c = 0; c < CHANNELS; c++) {
            pixels[(row * PLANE + pixel) * CHANNELS + c] = bytes[from + 1 + c * PLANE + pixel];
          }
        }
      }
    }
    return { rows, height: SIDE, width: SIDE, channels: CHANNELS, pixels, labels };
  };
  const halves = {
    train: await half([1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.bin`)),
    test: await half(['test_batch.bin']),
  };
  return { ...halves, content: contentName(halves) };
}
