/**
 * Learned optimizers of an MLP with GELU, a per-parameter MLP (Li et al. 2023, §5.2) and AdafacMlp: the registered optimizers
 * and task, as `lopt-fashion8` has them, on data that nothing has to be fetched for.
 */
import { mnist } from '../../datasets';
import { tableDataset } from '../../datasets/table-dataset';
import { adafacMlp, perParameterMlp } from '../../learned-optimizers';
import type { Dataset, DataSplit, LearnedOptimizer, Split, UnrolledProblem } from '../../src/contracts';
import { unroll } from '../../src/outer';
import { EagerRandom, seedKey } from '../../src/random';
import { mlp } from '../../tasks';

/** Widths of the networks over the parameters, from the features that differ between the parameters of a tensor on. */
export const PER_PARAMETER: readonly number[] = [8, 32, 32, 2];
export const ADAFAC: readonly number[] = [28, 4, 4, 2];

/** θ: the weights of the network. Loss: cross-entropy of a validation batch after the update. */
function lopt(data: Dataset, hidden: readonly number[], optimizer: LearnedOptimizer): UnrolledProblem {
  return unroll({
    task: mlp({ data, hidden, activation: 'gelu-tanh', batchSize: 128 }),
    optimizer,
    objective: { metric: 'loss', split: 'validation', over: 'sum' },
    horizon: 1000,
  });
}

/** Images of noise, 8 × 8 grey ones in the number and split of Fashion-MNIST's: only the shape matters to the time. */
export async function noiseImages(
  inputShape: readonly number[] = [64],
  rows: Readonly<Record<Split, number>> = { train: 48000, validation: 12000, test: 10000 },
): Promise<Dataset> {
  const size = inputShape.reduce((a, b) => a * b, 1);
  const random = new EagerRandom(seedKey(0));
  const splitOf = async (split: Split, stream: number): Promise<DataSplit> => {
    const draw = async (offset: number, shape: number[], high: number): Promise<Uint8Array> => {
      const drawn = random.foldIn(2 * stream + offset).integer(shape, 0, high);
      const values = Uint8Array.from(await drawn.data());
      drawn.dispose();
      return values;
    };
    const count = rows[split];
    return {
      rows: count,
      xs: {
        table: {
          name: `noise/${split}/xs`,
          values: await draw(0, [count, size], 256),
          dtype: 'uint8',
          rows: count,
          rowShape: [...inputShape],
        },
        decode: { scale: 1 / 255, offset: 0 },
      },
      ys: {
        table: {
          name: `noise/${split}/ys`,
          values: await draw(1, [count], 10),
          dtype: 'uint8',
          rows: count,
          rowShape: [],
        },
      },
    };
  };
  const splits = {
    train: await splitOf('train', 0),
    validation: await splitOf('validation', 1),
    test: await splitOf('test', 2),
  };
  return tableDataset({ name: 'noise', inputShape, classes: 10, splits });
}

/** The published inner MLP, on images of its size. */
export async function smallLopt(): Promise<UnrolledProblem> {
  return lopt(await noiseImages(), [32, 32, 32], perParameterMlp({ hidden: [32, 32] }));
}

/** The same with AdafacMlp. */
export async function smallAdafac(): Promise<UnrolledProblem> {
  return lopt(await noiseImages(), [32, 32, 32], adafacMlp());
}

/** What a notebook of google/learned_optimization meta-trains on: one layer of 32 with ReLU, the loss of training batches. */
export async function notebookLopt(): Promise<UnrolledProblem> {
  return unroll({
    task: mlp({ data: await noiseImages(), hidden: [32], activation: 'relu', batchSize: 128 }),
    optimizer: perParameterMlp({ hidden: [32, 32] }),
    objective: { metric: 'loss', split: 'train', over: 'sum' },
    horizon: 1000,
  });
}

/** On MNIST as it is. */
export async function largeLopt(): Promise<UnrolledProblem> {
  return lopt(await mnist({ normalise: 'unit' }), [32], perParameterMlp({ hidden: [32, 32] }));
}
