/** PNG and JPEG files of the user's as 8-bit pixels. Sizes are looked at before anything is unpacked. */
import { createRequire } from 'node:module';
import { inflateSync } from 'node:zlib';
import type * as FastPng from 'fast-png';
import type * as Jpeg from 'jpeg-js';
import { DataFileError } from '../../src/contracts';

const load = createRequire(__filename);

/** 33.5 million: what a larger picture says it is may be a lie that costs all memory. */
const MOST_PIXELS = 2 ** 25;
const JPEG_MEGABYTES = 1024;

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** [height, width, channels] */
  readonly pixels: Uint8Array;
}

/** Pixels [.., 3] of red, green and blue, and how to make them of one grey. */
type Rgb = Uint8Array;

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).split('\n')[0];

function checkSize(file: string, width: number, height: number): void {
  if (width > 0 && height > 0 && width * height <= MOST_PIXELS) return;
  throw new DataFileError(file, {}, `a picture of 1 to ${MOST_PIXELS} pixels`, `${width} × ${height}`);
}

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');
const KEPT_CHUNKS = ['IHDR', 'PLTE', 'IDAT', 'IEND'];
/** Samples a pixel, by the colour type. */
const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** The file without the chunks that are not needed, once it is known to unpack to what its header says. */
function soundPng(file: string, bytes: Buffer): Buffer {
  const fail = (offset: number, expected: string, got: string): never => {
    throw new DataFileError(file, { offset }, expected, got);
  };
  const parts: Buffer[] = [SIGNATURE];
  const packed: Buffer[] = [];
  let [size, type] = [0, ''];
  for (let at = 8; type !== 'IEND'; at += 12 + size) {
    if (at + 12 > bytes.length) fail(bytes.length, 'more of a PNG', 'the end of the file');
    size = bytes.readUInt32BE(at);
    type = bytes.toString('latin1', at + 4, at + 8);
    if (at + 12 + size > bytes.length)
      fail(bytes.length, `${size} bytes of the chunk ${JSON.stringify(type)}`, 'the end of the file');
    if ((at === 8) !== (type === 'IHDR')) fail(at, 'one header at the start', JSON.stringify(type));
    if (type === 'IHDR') {
      if (size !== 13) fail(at, 'a header of 13 bytes', String(size));
      checkSize(file, bytes.readUInt32BE(16), bytes.readUInt32BE(20));
    }
    if (KEPT_CHUNKS.includes(type)) parts.push(bytes.subarray(at, at + 12 + size));
    if (type === 'IDAT') packed.push(bytes.subarray(at + 8, at + 8 + size));
  }
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  const [depth, colour, interlaced] = [bytes[24], bytes[25], bytes[28]];
  if (interlaced !== 0) fail(28, 'a picture that is not interlaced', 'one that is');
  const expected = height * (1 + Math.ceil((width * depth * (SAMPLES[colour] ?? 0)) / 8));
  let length: number;
  try {
    length = inflateSync(Buffer.concat(packed), { maxOutputLength: expected + 1 }).length;
  } catch (cause) {
    throw new DataFileError(file, {}, 'pixels that unpack', reasonOf(cause), undefined, { cause });
  }
  if (length !== expected) throw new DataFileError(file, {}, `${expected} bytes of pixels`, String(length));
  return Buffer.concat(parts);
}

/** Samples of 1, 2 or 4 bits, packed in bytes line by line, as one a byte. */
function unpacked(data: Uint8Array, width: number, height: number, depth: number): Uint8Array {
  const line = Math.ceil((width * depth) / 8);
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    const bit = x * depth;
    return (data[y * line + (bit >> 3)] >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
  });
}

function decodePng(file: string, bytes: Buffer): { width: number; height: number; rgb: Rgb } {
  const sound = soundPng(file, bytes);
  const { decode } = load('fast-png') as typeof FastPng;
  let picture: FastPng.DecodedPng;
  try {
    picture = decode(sound, { checkCrc: true });
  } catch (cause) {
    throw new DataFileError(file, {}, 'a whole PNG', reasonOf(cause), undefined, { cause });
  }
  const { width, height, channels, depth, data, palette } = picture;
  const samples = depth < 8 ? unpacked(data as Uint8Array, width, height, depth) : data;
  const byte = (at: number): number =>
    depth === 16 ? samples[at] >> 8 : depth === 8 ? samples[at] : (samples[at] * 255) / (2 ** depth - 1);
  const rgb = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      // Two channels are grey and opacity, four are colours and opacity.
      if (palette === undefined) rgb[3 * i + c] = byte(i * channels + (channels < 3 ? 0 : c));
      else if (samples[i] < palette.length) rgb[3 * i + c] = palette[samples[i]][c];
      else throw new DataFileError(file, {}, `colours 0 to ${palette.length - 1}`, String(samples[i]));
    }
  }
  return { width, height, rgb };
}

function decodeJpeg(file: string, bytes: Buffer): { width: number; height: number; rgb: Rgb } {
  const { decode } = load('jpeg-js') as typeof Jpeg;
  try {
    const { width, height, data } = decode(bytes, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      maxResolutionInMP: MOST_PIXELS / 1e6,
      maxMemoryUsageInMB: JPEG_MEGABYTES,
    });
    checkSize(file, width, height);
    return { width, height, rgb: data };
  } catch (cause) {
    if (cause instanceof DataFileError) throw cause;
    const got = `${bytes.length} bytes that are none (${reasonOf(cause)})`;
    throw new DataFileError(file, {}, 'a whole JPEG', got, undefined, { cause });
  }
}

/**
 * A PNG or JPEG, whatever its name says, with 3 channels, or with 1: (19595 R + 38470 G + 7471 B)/2¹⁶ rounded, which is the luma
 * of ITU-R 601. Opacity is left out; of 16 bits the upper 8 are taken.
 * @throws DataFileError for a file that is neither, is damaged, cut short or too large
 */
export function decodeImage(file: string, bytes: Buffer, channels: 1 | 3): Picture {
  const isPng = bytes.subarray(0, 8).equals(SIGNATURE);
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  if (!isPng && !isJpeg) {
    const got = bytes.length === 0 ? 'an empty file' : `bytes ${bytes.subarray(0, 4).toString('hex')} …`;
    throw new DataFileError(file, { offset: 0 }, 'a PNG or a JPEG', got);
  }
  const { width, height, rgb } = isPng ? decodePng(file, bytes) : decodeJpeg(file, bytes);
  if (channels === 3) return { width, height, pixels: rgb };
  const luma = (_: unknown, i: number): number =>
    (19595 * rgb[3 * i] + 38470 * rgb[3 * i + 1] + 7471 * rgb[3 * i + 2] + 32768) >> 16;
  return { width, height, pixels: Uint8Array.from({ length: width * height }, luma) };
}
