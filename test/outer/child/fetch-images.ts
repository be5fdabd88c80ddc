/** `node fetch-images.js SET.json ROOT [hang]`: fetches a small CIFAR-10; with `hang` it never puts the finished folder in its place. */
import { readFileSync } from 'node:fs';
import files from 'node:fs/promises';
import { cifarReader } from '../../../datasets/files/cifar-10';
import { filesOf, type FetchedImages } from '../../../datasets/files/image-store';

const [, , description, root, mode] = process.argv;
const { perBatch, ...set } = JSON.parse(readFileSync(description, 'utf8')) as FetchedImages & { perBatch: number };

if (mode === 'hang') {
  const { rename } = files;
  const hangs = (from: string, to: string): Promise<void> =>
    to.startsWith(root) ? new Promise(() => setInterval(() => undefined, 1000)) : rename(from, to);
  Object.assign(files, { rename: hangs });
}

void filesOf({ ...set, makeReader: () => cifarReader(perBatch) }, () => root)
  .fetch()
  .then((fetched) => console.log(String(fetched)));
