import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { ConfigurationError, type Dataset, type Registrar, type TensorTree } from '../src/contracts';
import { accuracy, crossEntropy } from './classification';
import { INIT_NAMES, kernelOf, type DenseLayer, type Init } from './dense';
import { checkPositiveInteger, checkPositiveNumber, withData, type MaybeLoading, type TaskOn } from './with-data';

export interface CharRnnOptions<D extends MaybeLoading = MaybeLoading> {
  /** Windows of text as `textDataset` makes them: symbols [length] and those that follow them [length]. */
  readonly data: D;
  readonly cell?: RnnCell;
  /** Numbers that a symbol is embedded in; 16 by default. */
  readonly embedding?: number;
  /** Width of the hidden state; 32 by default. */
  readonly hidden?: number;
  readonly init?: Init;
  /** Factor of the initialisation's standard deviations; 1 by default. */
  readonly initScale?: number;
  /** Windows of a minibatch; 32 by default. */
  readonly batchSize?: number;
}

interface CellParams extends Record<string, TensorTree> {
  /** [embedding, gates·hidden] */
  kernel: tf.Tensor;
  /** [hidden, gates·hidden] */
  recurrent: tf.Tensor;
  /** [gates·hidden] */
  bias: tf.Tensor;
}

interface RnnParams extends Record<string, TensorTree> {
  /** [symbols, embedding] */
  embedding: tf.Tensor;
  cell: CellParams;
  output: DenseLayer;
}

interface Cell {
  readonly gates: number;
  /** Values of the bias at the start, one for each gate. */
  readonly bias: readonly number[];
  /** The state at the start of a window. */
  readonly start: (batch: number, hidden: number) => tf.Tensor[];
  /** `input` [batch, gates·hidden] is x·kernel + bias. The first of the new state is the cell's output. */
  readonly step: (input: tf.Tensor, state: readonly tf.Tensor[], cell: CellParams, hidden: number) => tf.Tensor[];
}

/** Columns k·width … (k + 1)·width of [batch, …]. */
function part(x: tf.Tensor, k: number, width: number, count = 1): tf.Tensor {
  return tf.slice(x, [0, k * width], [x.shape[0], count * width]);
}

const recur = (h: tf.Tensor, { recurrent }: CellParams): tf.Tensor => tf.matMul(h, recurrent);

const CELLS = {
  /**
   * Hochreiter, Schmidhuber 1997, with the forget gate of Gers et al. 2000 whose bias starts at 1 (Jozefowicz et al. 2015).
   * Gates in the order i, f, g, o: c' = σ(f)c + σ(i)·tanh(g), h' = σ(o)·tanh(c').
   */
  lstm: {
    gates: 4,
    bias: [0, 1, 0, 0],
    start: (batch, hidden) => [tf.zeros([batch, hidden]), tf.zeros([batch, hidden])],
    step: (input, [h, c], cell, hidden) => {
      const gates = tf.add(input, recur(h, cell));
      const [i, f, o] = [0, 1, 3].map((k) => tf.sigmoid(part(gates, k, hidden)));
      const next = tf.add(tf.mul(f, c), tf.mul(i, tf.tanh(part(gates, 2, hidden))));
      return [tf.mul(o, tf.tanh(next)), next];
    },
  },
  /**
   * Cho et al. 2014 as in cuDNN and PyTorch, with one bias: the reset gate multiplies what the hidden state gives, not the
   * state itself. Gates in the order r, z, n: h' = (1 − σ(z))·tanh(n_x + σ(r)·n_h) + σ(z)·h.
   */
  gru: {
    gates: 3,
    bias: [0, 0, 0],
    start: (batch, hidden) => [tf.zeros([batch, hidden])],
    step: (input, [h], cell, hidden) => {
      const past = recur(h, cell);
      const open = tf.sigmoid(tf.add(part(input, 0, hidden, 2), part(past, 0, hidden, 2)));
      const [r, keep] = [part(open, 0, hidden), part(open, 1, hidden)];
      const fresh = tf.tanh(tf.add(part(input, 2, hidden), tf.mul(r, part(past, 2, hidden))));
      return [tf.add(fresh, tf.mul(keep, tf.sub(h, fresh)))];
    },
  },
} as const satisfies Readonly<Record<string, Cell>>;
export type RnnCell = keyof typeof CELLS;

const DEFAULTS = { cell: 'lstm', embedding: 16, hidden: 32, init: 'lecun', initScale: 1, batchSize: 32 } as const;

/** Symbols of the text and length of its windows. @throws ConfigurationError for a data set of something else. */
function textOf({ name, inputShape, classes, splits }: Dataset): { symbols: number; length: number } {
  const { xs, ys } = splits.train;
  const isText = xs.decode === undefined && xs.table.dtype !== 'float32' && inputShape.length === 1;
  const follows = ys.table.rowShape.length === 1 && ys.table.rowShape[0] === inputShape[0];
  if (classes === undefined || !isText || !follows) {
    throw new ConfigurationError(
      'data',
      'a data set of text, e.g. {name: text, path: FILE}, for "char-rnn"',
      `"${name}"`,
    );
  }
  return { symbols: classes, length: inputShape[0] };
}

/**
 * A character model: each symbol's embedding goes through an LSTM or GRU, unrolled over the window from a state of zeros,
 * and a dense layer gives the logits of the symbol that follows. Loss: mean cross-entropy in nats a character; metrics
 * `accuracy` and `bits per character`. Parameters: {embedding [symbols, e], cell {kernel, recurrent, bias}, output {kernel,
 * bias}}; the embedding is normal with standard deviation 1, kernels as of `mlp`.
 * @throws ConfigurationError for sizes that are no positive integers, or a data set that is no text.
 */
export function charRnn<D extends MaybeLoading>(options: CharRnnOptions<D>): TaskOn<D> {
  const { cell: name, embedding: width, hidden, init, initScale, batchSize } = { ...DEFAULTS, ...options };
  checkPositiveInteger('task.embedding', width);
  checkPositiveInteger('task.hidden', hidden);
  checkPositiveInteger('task.batchSize', batchSize);
  checkPositiveNumber('task.initScale', initScale);
  const { gates, bias, start, step }: Cell = CELLS[name];
  return withData(options.data, (dataset) => {
    const { symbols, length } = textOf(dataset);

    /** xs int32 [batch, length] → logits [length·batch, symbols], time-major. */
    const logits = ({ embedding, cell, output }: RnnParams, xs: tf.Tensor): tf.Tensor => {
      const [batch] = xs.shape;
      const order = tf.reshape(tf.transpose(xs), [length * batch]);
      const embedded = tf.gather(embedding, tf.cast(order, 'int32')) as tf.Tensor2D;
      // All steps at once: only what depends on the state is left to the recurrence.
      const inputs = tf.add(tf.matMul(embedded, cell.kernel as tf.Tensor2D), cell.bias);
      let state = start(batch, hidden);
      const outputs: tf.Tensor2D[] = [];
      for (let k = 0; k < length; k++) {
        const input = tf.slice(inputs, [k * batch, 0], [batch, gates * hidden]);
        state = step(input, state, cell, hidden);
        outputs.push(state[0] as tf.Tensor2D);
      }
      const states = outputs.length === 1 ? outputs[0] : tf.concat2d(outputs, 0);
      return tf.add(tf.matMul(states, output.kernel as tf.Tensor2D), output.bias);
    };
    const targets = (ys: tf.Tensor): tf.Tensor => tf.reshape(tf.transpose(ys), [ys.size]);

    return {
      name: 'char-rnn',
      dataset,
      batchSize,
      init: (random): RnnParams => ({
        embedding: random.normal([symbols, width], { std: initScale }),
        cell: {
          kernel: kernelOf(random, [width, gates * hidden], init, initScale),
          recurrent: kernelOf(random, [hidden, gates * hidden], init, initScale),
          bias: tf.tensor1d(bias.flatMap((value) => new Array<number>(hidden).fill(value))),
        },
        output: { kernel: kernelOf(random, [hidden, symbols], init, initScale), bias: tf.zeros([symbols]) },
      }),
      loss: (params, { xs, ys }) => crossEntropy(logits(params as RnnParams, xs), targets(ys)),
      metrics: (params, { xs, ys }) => {
        const given = logits(params as RnnParams, xs);
        return {
          accuracy: accuracy(given, targets(ys)),
          'bits per character': tf.mul(crossEntropy(given, targets(ys)), Math.LOG2E),
        };
      },
    };
  });
}

export function registerCharRnn({ task }: Registrar): void {
  const size = z.int().positive();
  task('char-rnn', {
    description: 'LSTM or GRU that predicts the next character of a text file (data set "text")',
    options: z.strictObject({
      cell: z.enum(Object.keys(CELLS) as [RnnCell]).default(DEFAULTS.cell),
      embedding: size.default(DEFAULTS.embedding),
      hidden: size.default(DEFAULTS.hidden),
      init: z.enum(INIT_NAMES).default(DEFAULTS.init),
      initScale: z.number().positive().default(DEFAULTS.initScale),
      batchSize: size.default(DEFAULTS.batchSize),
    }),
    create: async (options, context) => charRnn({ ...options, data: await context.data() }),
  });
}
