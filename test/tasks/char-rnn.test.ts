/** The character models' loss and metrics against a float64 loop over characters. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset, textDataset } from '../../datasets';
import { treeLeaves, treeUnflatten, type TensorTree } from '../../src/contracts';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { charRnn, mlp, type RnnCell } from '../../tasks';
import { lossAndGradient } from '../support/run-problem';

const LENGTH = 5;
const [E, H, BATCH] = [3, 4, 2];
const data = textDataset({ text: 'abcdefghij bad cab fed jig hid bag '.repeat(6), length: LENGTH });
const V = data.classes!;
const take = (column: 'xs' | 'ys'): number[][] =>
  Array.from({ length: BATCH }, (_, row) => [
    ...data.splits.train[column].table.values.subarray(row * LENGTH, (row + 1) * LENGTH),
  ]);
const [xs, ys] = [take('xs'), take('ys')];

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const GATES = { lstm: 4, gru: 3 } as const;

interface Weights {
  readonly embedding: number[];
  readonly kernel: number[];
  readonly recurrent: number[];
  readonly bias: number[];
  readonly outKernel: number[];
  readonly outBias: number[];
}

const weightsOf = (gates: number): Weights => {
  const draw = (k: number, count: number): number[] => Array.from(normals([12, k], count));
  return {
    embedding: draw(0, V * E),
    kernel: draw(1, E * gates * H),
    recurrent: draw(2, H * gates * H),
    bias: draw(3, gates * H),
    outKernel: draw(4, H * V),
    outBias: draw(5, V),
  };
};

/** x·W for W [x.length, columns], row-major. */
const times = (x: readonly number[], w: readonly number[], columns: number): number[] =>
  Array.from({ length: columns }, (_, j) => x.reduce((sum, v, i) => sum + v * w[i * columns + j], 0));

/** Mean loss in nats a character, and the share of characters that were the most probable. */
function reference(cell: RnnCell, w: Weights): { loss: number; accuracy: number } {
  const columns = GATES[cell] * H;
  let [loss, hits] = [0, 0];
  for (let row = 0; row < BATCH; row++) {
    let h = new Array<number>(H).fill(0);
    let c = new Array<number>(H).fill(0);
    for (let k = 0; k < LENGTH; k++) {
      const e = w.embedding.slice(xs[row][k] * E, (xs[row][k] + 1) * E);
      const input = times(e, w.kernel, columns).map((v, j) => v + w.bias[j]);
      const past = times(h, w.recurrent, columns);
      if (cell === 'lstm') {
        const gate = (g: number, j: number): number => input[g * H + j] + past[g * H + j];
        c = c.map((old, j) => sigmoid(gate(1, j)) * old + sigmoid(gate(0, j)) * Math.tanh(gate(2, j)));
        h = c.map((now, j) => sigmoid(gate(3, j)) * Math.tanh(now));
      } else {
        h = h.map((old, j) => {
          const r = sigmoid(input[j] + past[j]);
          const z = sigmoid(input[H + j] + past[H + j]);
          const n = Math.tanh(input[2 * H + j] + r * past[2 * H + j]);
          return (1 - z) * n + z * old;
        });
      }
      const logits = times(h, w.outKernel, V).map((v, j) => v + w.outBias[j]);
      const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
      loss -= (logits[ys[row][k]] - Math.log(total)) / (BATCH * LENGTH);
      if (logits.indexOf(Math.max(...logits)) === ys[row][k]) hits++;
    }
  }
  return { loss, accuracy: hits / (BATCH * LENGTH) };
}

const batch = () => ({ xs: tf.tensor2d(xs, [BATCH, LENGTH], 'int32'), ys: tf.tensor2d(ys, [BATCH, LENGTH], 'int32') });
const make = (cell: RnnCell) => charRnn({ data, cell, embedding: E, hidden: H, batchSize: BATCH });

beforeAll(() => tf.setBackend('cpu'));

describe.each(['lstm', 'gru'] as const)('%s', (cell) => {
  const w = weightsOf(GATES[cell]);
  const shapes: readonly (readonly [string, number[], number[]])[] = [
    ['cell.bias', [GATES[cell] * H], w.bias],
    ['cell.kernel', [E, GATES[cell] * H], w.kernel],
    ['cell.recurrent', [H, GATES[cell] * H], w.recurrent],
    ['embedding', [V, E], w.embedding],
    ['output.bias', [V], w.outBias],
    ['output.kernel', [H, V], w.outKernel],
  ];
  const assemble = (leaves: readonly tf.Tensor[]): TensorTree =>
    treeUnflatten(make(cell).init(new EagerRandom(seedKey(0))), leaves);

  test('parameters have the documented places and shapes', () => {
    const leaves = treeLeaves<tf.Tensor>(make(cell).init(new EagerRandom(seedKey(0))));
    expect(leaves.map(({ path, value }) => [path, value.shape])).toEqual(shapes.map(([path, shape]) => [path, shape]));
  });

  test('loss and metrics are those of a loop over characters', () => {
    const expected = reference(cell, w);
    const { loss } = lossAndGradient(
      Object.fromEntries(shapes.map(([path, shape, values]) => [path.replace('.', '_'), { shape, values }])),
      (params) => make(cell).loss(params, batch(), new EagerRandom(seedKey(0))),
      (given) => assemble(shapes.map(([path]) => given[path.replace('.', '_')])),
    );
    expect(Math.abs(loss - expected.loss)).toBeLessThan(1e-12);
    const metrics = make(cell).metrics!(assemble(shapes.map(([, shape, values]) => tf.tensor(values, shape))), batch());
    expect(metrics.accuracy.dataSync()[0]).toBeCloseTo(expected.accuracy, 6);
    expect(metrics['bits per character'].dataSync()[0]).toBeCloseTo(expected.loss / Math.log(2), 4);
  });
});

test('the forget gate of a fresh LSTM is open, all other biases are zero', () => {
  const { cell } = make('lstm').init(new EagerRandom(seedKey(0))) as { cell: { bias: tf.Tensor } };
  expect(Array.from(cell.bias.dataSync())).toEqual([0, 1, 0, 0].flatMap((gate) => new Array<number>(H).fill(gate)));
});

test('data that is no text is refused, and text by tasks on class labels', () => {
  const plain = arrayDataset({
    xs: normals([4, 4], 30),
    ys: Array.from({ length: 10 }, (_, i) => i % 2),
    inputShape: [3],
    classes: 2,
  });
  expect(() => charRnn({ data: plain })).toThrow(
    'data: expected a data set of text, e.g. {name: text, path: FILE}, for "char-rnn"',
  );
  expect(() => mlp({ data })).toThrow('data: expected a data set with class labels for the task "mlp"');
});
