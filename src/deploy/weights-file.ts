/**
 * A learned optimizer as one file: θ in safetensors, and in its header what is needed to build the optimizer again and how
 * θ came about. Reading one runs none of its bytes.
 */
import { sha256 } from '@noble/hashes/sha2';
import { bytesToHex } from '@noble/hashes/utils';
import { WeightsError, type ConfigObject, type ConfigValue, type NamedConfig, type ThetaLayout } from '../contracts';
import { decodeSafetensors, encodeSafetensors, type Sha256 } from '../outer/safetensors';

const FORMAT = 'outerloop-optimizer-1';

/** How θ came about; whatever the run recorded. */
export type TrainingRecord = ConfigObject;

export interface OptimizerWeights {
  /** Of a registered optimizer, all options filled in: architecture and feature scales. */
  readonly optimizer: NamedConfig;
  /** What the optimizer computes from gradients and parameters; θ of one version means nothing to another. */
  readonly featureVersion: number;
  readonly layout: ThetaLayout;
  /** float32: what engines run with. */
  readonly theta: Float32Array;
  readonly record: TrainingRecord;
}

const digest: Sha256 = (bytes) => bytesToHex(sha256(bytes));

/** SHA-256 of θ's float32 numbers, little-endian. */
export function thetaChecksum(theta: Float32Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * theta.length));
  theta.forEach((x, i) => {
    bytes.setFloat32(4 * i, x, true);
  });
  return digest(new Uint8Array(bytes.buffer));
}

/** The name of a leaf's tensor; a bare leaf has no path. */
const tensorName = (path: string): string => (path === '' ? 'theta' : path);

/** @throws WeightsError for numbers that are not finite */
function checkFinite(theta: ArrayLike<number>, layout: ThetaLayout, what: string): void {
  for (const { path, offset, size } of layout.leaves) {
    for (let i = 0; i < size; i++) {
      if (Number.isFinite(theta[offset + i])) continue;
      throw new WeightsError(
        `${what}: expected finite numbers, got ${String(theta[offset + i])} at ${tensorName(path)}[${String(i)}]. ` +
          'Take an earlier checkpoint, or train again with a smaller learning rate.',
      );
    }
  }
}

/** The bytes of the file; equal weights give equal bytes. @throws WeightsError for numbers that are not finite */
export function encodeWeights(weights: OptimizerWeights): Uint8Array {
  const { optimizer, featureVersion, layout, theta, record } = weights;
  checkFinite(theta, layout, `the weights of ${optimizer.name}`);
  const tensors = layout.leaves.map(({ path, shape, offset, size }) => [
    tensorName(path),
    { shape, data: theta.slice(offset, offset + size) },
  ]);
  const metadata = {
    format: FORMAT,
    optimizer: JSON.stringify(optimizer),
    featureVersion: String(featureVersion),
    // The order of leaves is that of the tree, which names alone do not tell.
    leaves: JSON.stringify(layout.leaves.map(({ path }) => path)),
    record: JSON.stringify(record),
  };
  return encodeSafetensors({ tensors: Object.fromEntries(tensors) as never, metadata }, digest);
}

function parsed(text: string | undefined, what: string, name: string): ConfigValue {
  try {
    return JSON.parse(text ?? '') as ConfigValue;
  } catch {
    throw new WeightsError(
      `${name}: expected a header with "${what}", got ${text === undefined ? 'none' : text.slice(0, 40)}.`,
    );
  }
}

/**
 * @param name what errors call the file
 * @throws WeightsError for a file that is damaged, no file of weights, or has numbers that are not finite
 */
export function decodeWeights(bytes: Uint8Array, name: string): OptimizerWeights {
  let file: ReturnType<typeof decodeSafetensors>;
  try {
    file = decodeSafetensors(bytes, name, digest);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new WeightsError(`${reason} Export the optimizer again.`, { cause: error });
  }
  const { tensors } = file;
  const metadata = file.metadata as Readonly<Record<string, string | undefined>>;
  if (metadata.format !== FORMAT) {
    throw new WeightsError(
      `${name}: expected a file of the format "${FORMAT}", got ${metadata.format === undefined ? 'another safetensors file' : `"${metadata.format}"`}. ` +
        'Make one by `outerloop export DIR`.',
    );
  }
  const optimizer = parsed(metadata.optimizer, 'optimizer', name) as NamedConfig;
  const paths = parsed(metadata.leaves, 'leaves', name) as readonly string[];
  let size = 0;
  const leaves = paths.map((path) => {
    const tensor = (tensors as Readonly<Record<string, (typeof tensors)[string] | undefined>>)[tensorName(path)];
    if (tensor === undefined) throw new WeightsError(`${name}: the tensor "${tensorName(path)}" is missing.`);
    const leaf = { path, shape: tensor.shape, offset: size, size: tensor.data.length };
    size += leaf.size;
    return leaf;
  });
  const theta = new Float32Array(size);
  for (const { path, offset } of leaves) theta.set(tensors[tensorName(path)].data, offset);
  const layout = { size, leaves };
  checkFinite(theta, layout, name);
  return {
    optimizer,
    featureVersion: Number(metadata.featureVersion),
    layout,
    theta,
    record: parsed(metadata.record, 'record', name) as TrainingRecord,
  };
}
