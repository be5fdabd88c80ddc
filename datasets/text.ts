/** A text as a data set of windows of characters: what character models are trained on. */
import { z } from 'zod';
import { ConfigurationError, SPLITS, type Dataset, type Split } from '../src/contracts';
import { arrayDataset } from './array-dataset';

export const textOptions = z.strictObject({
  /** Characters of a window. */
  length: z.int().positive().default(64),
  /** Characters from the start of a window to that of the next; by default `length`, so that windows do not overlap. */
  stride: z.int().positive().optional(),
  /** Parts of the text, cut in order; they sum to 1. */
  shares: z
    .strictObject({ train: z.number().positive(), validation: z.number().positive(), test: z.number().positive() })
    .default({ train: 0.8, validation: 0.1, test: 0.1 }),
});
export type TextOptions = z.input<typeof textOptions>;

export interface TextDatasetOptions extends TextOptions {
  readonly text: string;
  /** Part of the data set's name; `text` by default. */
  readonly name?: string;
}

/** The characters (code points) of a text, each once, in ascending order: symbol i of its data set is the i-th. */
export function vocabularyOf(text: string): string[] {
  return [...new Set(text)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
}

/**
 * Windows of `length` characters at every `stride` of a text: `xs` the symbols [length], `ys` those that follow each
 * of them [length], both int32; `classes` is the size of the vocabulary, which is that of the whole text. The text is cut in
 * order into train, validation and test; no window reaches from one into the next.
 * @param what Where the text is from, for errors.
 * @throws ConfigurationError for a text that is empty, has but one character, or is too short for a window in each part.
 */
export function textDataset({ text, name = 'text', ...given }: TextDatasetOptions, what = 'text'): Dataset {
  const parsed = textOptions.safeParse(given);
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    throw new ConfigurationError(['data', ...path].join('.'), 'what its documentation says', message);
  }
  const { length, stride = length, shares } = parsed.data;
  const symbols = Array.from(text);
  const vocabulary = vocabularyOf(text);
  if (symbols.length === 0) throw new ConfigurationError(what, 'a text', 'nothing: it is empty');
  if (vocabulary.length < 2) {
    throw new ConfigurationError(what, 'a text of two different characters or more', `"${vocabulary[0]}" throughout`);
  }
  const total = SPLITS.reduce((sum, split) => sum + shares[split], 0);
  if (Math.abs(total - 1) > 1e-9) {
    throw new ConfigurationError(
      'data.shares',
      'positive shares that sum to 1',
      `a sum of ${Number(total.toPrecision(6))}`,
    );
  }
  const ends = [0, shares.train, shares.train + shares.validation, 1].map((share) =>
    Math.round(share * symbols.length),
  );
  const codes = new Map(vocabulary.map((character, i) => [character, i]));
  const rowsOf = (i: number): number => Math.floor((ends[i + 1] - ends[i] - 1 - length) / stride) + 1;
  const shortest = Math.min(...SPLITS.map((split) => shares[split]));
  SPLITS.forEach((split, i) => {
    if (rowsOf(i) >= 1) return;
    throw new ConfigurationError(
      what,
      `a text of about ${Math.ceil((length + 1) / shortest)} characters or more`,
      `${symbols.length} characters`,
      `Its part "${split}" has ${ends[i + 1] - ends[i]}, and a window takes ${length + 1}: shorten data.length or change data.shares.`,
    );
  });
  const numbers = vocabulary.length <= 256 ? Uint8Array : Int32Array;
  const windows = (i: number) => {
    const rows = rowsOf(i);
    const [xs, ys] = [new numbers(rows * length), new numbers(rows * length)];
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < length; k++) {
        const at = ends[i] + row * stride + k;
        xs[row * length + k] = codes.get(symbols[at])!;
        ys[row * length + k] = codes.get(symbols[at + 1])!;
      }
    }
    return { xs, ys };
  };
  return arrayDataset({
    name,
    inputShape: [length],
    targetShape: [length],
    classes: vocabulary.length,
    splits: Object.fromEntries(SPLITS.map((split, i) => [split, windows(i)])) as Record<
      Split,
      ReturnType<typeof windows>
    >,
  });
}
