/** Folders of pictures: decoded as Pillow 13 decodes them (it wrote the files below, too), and files that are no pictures. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { encode } from 'fast-png';
import { imageFolderDataset, type ImageFolderOptions } from '../../datasets';
import { decodeImage } from '../../datasets/files/decode-image';
import { DATASET_PROPERTIES } from '../../src/conformance';
import { DataFileError, DatasetUnavailableError, SPLITS, UserError } from '../../src/contracts';

/** 6 × 5 pixels: the file, its pixels as red, green and blue, and by how much a decoder may differ. */
const FILES: readonly [string, string, string, number][] = [
  [
    'RGB',
    'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAFCAIAAADpOgqxAAAAGklEQVR4nGNkYGDQYBBBRiwMRiIMDCiIbCEAz3YD5ptZZeoAAAAASUVORK5CYII=',
    'AAAAKAAUUAAoeAA8oABQyABkADIUKDIoUDI8eDJQoDJkyDJ4AGQoKGQ8UGRQeGRkoGR4yGSMAJY8KJZQUJZkeJZ4oJaMyJagAMhQKMhkUMh4eMiMoMigyMi0',
    0,
  ],
  [
    'RGB with opacity',
    'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAFCAYAAABmWJ3mAAAAHUlEQVR4nGNkYGD4r8EgwoCOWRiMRBgYGDAxFSUAjAQE5eIxEwgAAAAASUVORK5CYII=',
    'AAAAKAAUUAAoeAA8oABQyABkADIUKDIoUDI8eDJQoDJkyDJ4AGQoKGQ8UGRQeGRkoGR4yGSMAJY8KJZQUJZkeJZ4oJaMyJagAMhQKMhkUMh4eMiMoMigyMi0',
    0,
  ],
  [
    'grey',
    'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAFCAAAAABDM8I6AAAAI0lEQVR4nCXFsQ0AMAgDMJCYnRPg/ys71Iu7CH2I2cAc+ZEHIMgB8eUHgwQAAAAASUVORK5CYII=',
    'AAAADg4OHBwcKysrOTk5R0dHICAgLi4uPDw8SkpKWVlZZ2dnPz8/Tk5OXFxcampqeHh4hoaGX19fbW1te3t7ioqKmJiYpqamf39/jY2Nm5ubqampt7e3xsbG',
    0,
  ],
  [
    'grey with opacity',
    'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAFCAQAAADMUVVtAAAAKElEQVR4nGNk+M/HwMfAz8DHwMfAosDAxwDjsshDRZFk0JTxMfAzAAB9QwLzv+Q8zQAAAABJRU5ErkJggg==',
    'AAAADg4OHBwcKysrOTk5R0dHICAgLi4uPDw8SkpKWVlZZ2dnPz8/Tk5OXFxcampqeHh4hoaGX19fbW1te3t7ioqKmJiYpqamf39/jY2Nm5ubqampt7e3xsbG',
    0,
  ],
  [
    'black and white',
    'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAFAQAAAABOI6BLAAAAEklEQVR4nGNgYBBhcmBiYFgDAAKWAQWLUFcdAAAAAElFTkSuQmCC',
    'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA////AAAA////AAAA////AAAA////AAAA////AAAA////AAAA////AAAA////////AAAA////AAAA////////',
    0,
  ],
  [
    '16 colours of 4 bits',
    'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAFBAMAAACUdoDVAAAAMFBMVEW0yKp4yIygloxQr26gZHhQZFAUyFoUlkYUZDK0Mm54MlC0AFp4ADxQGTIUMh4UAAp03v5HAAAAH0lEQVR4nAEUAOv/Af/d3wLv/t4EmszwBO/e8ALv/96GLQ1zTytK1AAAAABJRU5ErkJggg==',
    'FAAKFAAKUBkyeAA8tABatABaFDIeFDIeUBkyeDJQtDJutDJuFGQyFGQyUGRQoGR4oGR4oGR4FJZGFJZGUK9uoJaMoJaMoJaMFMhaFMhaUK9ueMiMtMiqtMiq',
    0,
  ],
  [
    '200 colours',
    'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAFCAMAAABRhm3UAAAAWlBMVEXIyLSgyKB4yIzIlqCglox4lnhQyHhQlmTIZIygZHh4ZGRQZFAoyGQAyFAollAAljwoZDwAZCjIMnigMmR4MlDIAGSgAFB4ADxQMjxQACgoMigAMhQoABQAAAALTOzdAAAAK0lEQVR4nGOQlZEUFxNlkJaSEBEWYhAU4Obi5GDg52NnZWFm4OVhY2JkAAAnOQG0ljvawgAAAABJRU5ErkJggg==',
    'AAAAKAAUUAAoeAA8oABQyABkADIUKDIoUDI8eDJQoDJkyDJ4AGQoKGQ8UGRQeGRkoGR4yGSMAJY8KJZQUJZkeJZ4oJaMyJagAMhQKMhkUMh4eMiMoMigyMi0',
    0,
  ],
  [
    'JPEG',
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAFAAYDAREAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwC9+xp/wSl/Zy/4RMj7L/ywH/LovqPevn8o4kx/sjzfo+ePfGX9hPX7K+0/LyP/2Q==',
    'AAAAKgASTwEoeAE7oABPyABiADMXKTAoTjQ/eDJUnjJmyDJ5AGQoKmI7T2VQeWNloGJ3yWOKApc9LZRNUZdje5V4opWMy5aeAMlTJ8djTMp5d8iOncehxsiz',
    3,
  ],
  [
    'progressive JPEG',
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wgARCAAFAAYDAREAAhEBAxEB/8QAFAABAAAAAAAAAAAAAAAAAAAAA//EABUBAQEAAAAAAAAAAAAAAAAAAAQF/9oADAMBAAIQAxAAAAF55v/EABYQAQEBAAAAAAAAAAAAAAAAAAYHFP/aAAgBAQABBQIbKTmT/8QAGhEAAAcAAAAAAAAAAAAAAAAAAAUGBxRRgf/aAAgBAwEBPwFvl6cwcsf/xAAYEQACAwAAAAAAAAAAAAAAAAAAAwQFEv/aAAgBAgEBPwGJZPyf/8QAFxAAAwEAAAAAAAAAAAAAAAAAADJBUv/aAAgBAQAGPwJZk//EABUQAQEAAAAAAAAAAAAAAAAAAADR/9oACAEBAAE/IZnf/9oADAMBAAIAAwAAABAf/8QAGBEAAgMAAAAAAAAAAAAAAAAAQWEAESH/2gAIAQMBAT8QvdAkp//EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQIBAT8QX//EABkQAAEFAAAAAAAAAAAAAAAAAAEAEVFhkf/aAAgBAQABPxB6EOwtf//Z',
    'AAAAKgASTwEoeAE7oABPyABiADMXKTAoTjQ/eDJUnjJmyDJ5AGQoKmI7T2VQeWNloGJ3yWOKApc9LZRNUZdje5V4opWMy5aeAMlTJ8djTMp5d8iOncehxsiz',
    3,
  ],
  [
    'grey JPEG',
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/wAALCAAFAAYBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/AL37Gn/BKX9nL/hEyPsv/LAf8ui+o96//9k=',
    'AAAADg4OHR0dKysrODg4R0dHICAgLS0tPT09S0tLWFhYZ2dnPz8/TU1NXFxcampqd3d3hoaGYGBgbW1tfHx8ioqKmJiYp6enf39/jIyMm5ubqamptra2xcXF',
    3,
  ],
];
const PNG = Buffer.from(FILES[0][1], 'base64');
const JPEG = Buffer.from(FILES[7][1], 'base64');

let root: string;
let folder: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'outerloop-images-'));
  folder = join(root, 'mes photos d’été');
});
afterEach(() => rmSync(root, { recursive: true }));

function put(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}
const grey = (value: number, width = 2, height = 2): Uint8Array =>
  encode({ width, height, channels: 1, depth: 8, data: new Uint8Array(width * height).fill(value) });

/** Ten pictures of each of three classes; the i-th of class c is all of 80c + i + 1. */
function fill(): void {
  ['été', 'Zoo', 'apple'].forEach((name) => {
    const label = ['Zoo', 'apple', 'été'].indexOf(name);
    for (let i = 0; i < 10; i++) put(join(name, `p ${i}.png`), grey(80 * label + i + 1));
  });
  put('Zoo/.DS_Store', Buffer.of(1));
  put('README.txt', Buffer.of(1));
}

test.each(FILES)('%s is decoded as by Pillow', (_, file, pixels, tolerance) => {
  const picture = decodeImage('file', Buffer.from(file, 'base64'), 3);
  expect([picture.width, picture.height]).toEqual([6, 5]);
  const wanted = Buffer.from(pixels, 'base64');
  expect(picture.pixels).toHaveLength(wanted.length);
  picture.pixels.forEach((value, i) => expect(Math.abs(value - wanted[i])).toBeLessThanOrEqual(tolerance));
});

test('of 16 bits the upper 8 are taken; grey is the luma of ITU-R 601', () => {
  const data = Uint16Array.of(0x1234, 0xffff, 0x00ff);
  const wide = Buffer.from(encode({ width: 1, height: 1, channels: 3, depth: 16, data }));
  expect([...decodeImage('file', wide, 3).pixels]).toEqual([0x12, 0xff, 0]);
  expect(decodeImage('file', wide, 1).pixels[0]).toBe(Math.round(0.299 * 0x12 + 0.587 * 0xff));
});

test.each(DATASET_PROPERTIES)('$name', async (property) => {
  fill();
  expect(await property.check(() => imageFolderDataset(folder))).toBeUndefined();
});

test('a class is a folder, in the order of names; every picture is in one split', async () => {
  fill();
  const dataset = await imageFolderDataset(folder, { channels: 1, flatten: true, normalise: 'unit' });
  expect(dataset).toMatchObject({ inputShape: [4], classes: 3, classNames: ['Zoo', 'apple', 'été'] });
  expect(SPLITS.map((split) => dataset.splits[split].rows)).toEqual([24, 3, 3]);
  const rows = SPLITS.flatMap((split) => {
    const { xs, ys } = dataset.splits[split];
    return Array.from(ys.table.values, (label, i) => [xs.table.values[4 * i], label]);
  });
  const all = [0, 1, 2].flatMap((label) => Array.from({ length: 10 }, (_, i) => [80 * label + i + 1, label]));
  expect(rows).not.toEqual(all);
  expect(rows.sort((a, b) => a[0] - b[0])).toEqual(all);
});

test('a folder each; the standard form has mean 0 and deviation 1 in train', async () => {
  for (const split of ['train', 'test']) {
    put(`${split}/a/1.png`, grey(split === 'train' ? 10 : 99));
    put(`${split}/b/1.jpg`, grey(30));
    put(`${split}/b/2.png`, grey(split === 'train' ? 50 : 98));
  }
  const paths = { train: join(folder, 'train'), validation: join(folder, 'test'), test: join(folder, 'test') };
  const { splits } = await imageFolderDataset(paths, { channels: 1 });
  const { scale, offset } = splits.train.xs.decode!;
  // 10, 30, 50: mean 30, variance 800/3.
  expect(50 * scale + offset).toBeCloseTo(20 / Math.sqrt(800 / 3), 9);
  expect(30 * scale + offset).toBeCloseTo(0, 9);
  expect([...splits.test.xs.table.values]).toEqual([99, 30, 98].flatMap((x) => [x, x, x, x]));
  expect([...splits.test.ys.table.values]).toEqual([0, 1, 1]);
});

test('pictures of different sizes need a size, and get it', async () => {
  fill();
  put('Zoo/other.png', grey(7, 3, 5));
  await expect(imageFolderDataset(folder)).rejects.toThrow(
    /expected a picture of \d × \d, as the first is, got \d × \d/,
  );
  expect((await imageFolderDataset(folder, { size: 4 })).inputShape).toEqual([4, 4, 3]);
});

/** A PNG of these header numbers and packed pixels, with right checksums nowhere: sizes are looked at before. */
function png(width: number, height: number, pixels: Uint8Array): Buffer {
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    return Buffer.concat([length, Buffer.from(type), data, Buffer.alloc(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header[8] = 8;
  return Buffer.concat([
    PNG.subarray(0, 8),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] ^= 1;
  return copy;
}

test.each<[string, () => Uint8Array, string]>([
  ['an empty file', () => Buffer.alloc(0), 'expected a PNG or a JPEG, got an empty file'],
  ['a text', () => Buffer.from('a text'), ', byte 0: expected a PNG or a JPEG, got bytes 61207465'],
  ['a script named as a picture', () => Buffer.from('#!/bin/sh'), 'expected a PNG or a JPEG'],
  ['half a PNG', () => PNG.subarray(0, PNG.length / 2), `, byte ${Math.floor(PNG.length / 2)}: expected`],
  ['a PNG without its last byte', () => PNG.subarray(0, -1), 'got the end of the file'],
  ['a PNG with a changed pixel', () => changed(PNG, PNG.length - 25), 'expected '],
  ['a PNG with fewer lines than it says', () => png(2, 3, Buffer.alloc(6)), 'expected 9 bytes of pixels, got 6'],
  ['a PNG that unpacks to far more', () => png(2, 2, Buffer.alloc(1e7)), 'expected pixels that unpack, got'],
  ['a PNG of a huge size', () => png(100000, 100000, Buffer.alloc(1)), 'got 100000 × 100000'],
  ['a PNG of no size', () => png(0, 4, Buffer.alloc(1)), 'got 0 × 4'],
  ['half a JPEG', () => JPEG.subarray(0, JPEG.length / 2), 'expected a whole JPEG'],
  ['a JPEG without its last byte', () => JPEG.subarray(0, -1), 'expected a whole JPEG'],
])('%s is refused by its name', async (_, bytes, message) => {
  fill();
  const path = put('Zoo/bad.png', bytes());
  const refused = imageFolderDataset(folder, { size: 2 });
  await expect(refused).rejects.toThrow(DataFileError);
  await expect(refused).rejects.toThrow(path);
  await expect(refused).rejects.toThrow(message);
});

test('a JPEG cut short anywhere is refused', () => {
  for (let length = 0; length < JPEG.length; length++) {
    expect(() => decodeImage('file', JPEG.subarray(0, length), 3)).toThrow(DataFileError);
  }
});

test.each<[string, () => void, ImageFolderOptions, string]>([
  [
    'one class',
    () => put('only/1.png', grey(1)),
    {},
    'expected a folder of pictures for each of two classes or more, got only "only"',
  ],
  ['no class', () => put('1.png', grey(1)), {}, 'got no folder'],
  [
    'an empty class',
    () => {
      fill();
      mkdirSync(join(folder, 'none'));
    },
    {},
    'expected pictures, got an empty folder',
  ],
  [
    'a folder in a class',
    () => {
      fill();
      mkdirSync(join(folder, 'Zoo', 'deeper'));
    },
    {},
    'expected a file, got a folder',
  ],
  [
    'too few pictures',
    () => {
      put('a/1.png', grey(1));
      put('b/1.png', grey(2));
    },
    {},
    'expected rows for each of train, validation, test, got 2',
  ],
  ['four channels', fill, { channels: 4 as 3 }, 'data.channels: expected'],
])('%s is refused', async (_, make, options, message) => {
  make();
  const refused = imageFolderDataset(folder, options);
  await expect(refused).rejects.toThrow(UserError);
  await expect(refused).rejects.toThrow(message);
});

test('a class that train lacks, and a folder that is not there', async () => {
  fill();
  put('../other/dog/1.png', grey(1));
  put('../other/Zoo/1.png', grey(1));
  const refused = imageFolderDataset({ train: folder, test: join(root, 'other') });
  await expect(refused).rejects.toThrow(`${join(root, 'other', 'dog', '1.png')}: expected a class of`);
  await expect(imageFolderDataset(join(folder, 'nowhere'))).rejects.toThrow(DatasetUnavailableError);
});
