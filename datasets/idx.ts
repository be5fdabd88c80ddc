/**
 * IDX files (LeCun, "The MNIST database", file formats): big-endian, two zero bytes, a type byte, the rank, one 32-bit
 * size a dimension, then the numbers, the last dimension fastest.
 */
import { DatasetError } from '../src/contracts';

const UNSIGNED_BYTE = 0x08;

/** The bytes before the numbers of an IDX file of unsigned bytes. */
export function idxHeader(shape: readonly number[]): Uint8Array {
  const header = new Uint8Array(4 + 4 * shape.length);
  const view = new DataView(header.buffer);
  view.setUint32(0, (UNSIGNED_BYTE << 8) | shape.length);
  shape.forEach((size, axis) => view.setUint32(4 + 4 * axis, size));
  return header;
}

/**
 * The numbers of an IDX file of unsigned bytes, as a view of `bytes`.
 * @param file Named in errors.
 * @param shape What the file must hold.
 * @param advice What to do about a file that is wrong.
 * @throws DatasetError with the file, what was expected and what was got.
 */
export function parseIdx(
  bytes: Uint8Array,
  file: string,
  shape: readonly number[],
  advice = 'Fetch the file again.',
): Uint8Array {
  const fail = (what: string, expected: string, got: string): never => {
    throw new DatasetError(`${file}: expected ${what} ${expected}, got ${got}. ${advice}`);
  };
  const hex = (word: number): string => `0x${word.toString(16).padStart(8, '0')}`;

  const header = 4 + 4 * shape.length;
  if (bytes.length < header) fail('a header of', `${header} bytes`, `a file of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = (UNSIGNED_BYTE << 8) | shape.length;
  if (view.getUint32(0) !== magic) fail('the magic number', hex(magic), hex(view.getUint32(0)));
  const found = shape.map((_, axis) => view.getUint32(4 + 4 * axis));
  if (found.some((size, axis) => size !== shape[axis]))
    fail('the shape', `[${shape.join(', ')}]`, `[${found.join(', ')}]`);
  const total = header + shape.reduce((a, b) => a * b, 1);
  if (bytes.length !== total) fail('a size of', `${total} bytes`, `${bytes.length} bytes`);
  return bytes.subarray(header);
}
