/** The safetensors format, with Node's own hash, which is fast enough for checkpoints. */
import { createHash } from 'node:crypto';
import * as format from '../safetensors';

const sha256: format.Sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** The file's bytes. Equal input gives equal bytes. */
export const encodeSafetensors = (file: format.SafetensorsFile): Uint8Array => format.encodeSafetensors(file, sha256);

/**
 * @param name what errors call the file
 * @throws CheckpointError if any byte is not as it was written
 */
export const decodeSafetensors = (bytes: Uint8Array, name: string): format.SafetensorsFile =>
  format.decodeSafetensors(bytes, name, sha256);

export type { SafetensorsFile } from '../safetensors';
