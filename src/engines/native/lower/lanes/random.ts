/** Draws in lanes: the keys lie in lanes, or are the kernel's; elements are those of src/random/draws.ts. */
import type { NodeOf } from '../../../../graph/ir';
import type { Stream } from '../../../../random';
import type { Dag, Ref } from './dag';

/** What draws are keyed by. */
export interface Keys {
  /** The two words (u32) of an episode's key. */
  readonly stream: (stream: Stream) => readonly [Ref, Ref];
  /** The inner step within the episode, i32. */
  readonly t: () => Ref;
}

/** Second counter word of foldIn (src/random/keys.ts). */
const FOLD = 0x9e3779b9;

function drawKey(dag: Dag, keys: Keys, node: NodeOf<'random'>): readonly [Ref, Ref] {
  const { stream, perStep, path } = node.attributes;
  const fold = (key: readonly [Ref, Ref], word: Ref): readonly [Ref, Ref] =>
    dag.threefry(key, [word, dag.literal('u32', FOLD)]);
  let key = keys.stream(stream);
  if (perStep) key = fold(key, dag.convert('u32', keys.t()));
  for (const word of path) key = fold(key, dag.literal('u32', word >>> 0));
  return key;
}

/** Elements 2·block and 2·block+1. */
export function drawPair(dag: Dag, keys: Keys, node: NodeOf<'random'>, block: Ref): readonly [Ref, Ref] {
  const { distribution } = node.attributes;
  const words = dag.threefry(drawKey(dag, keys, node), [block, dag.literal('u32', 0)]);
  switch (distribution.name) {
    case 'normal':
      return dag.normals(words);
    case 'uniform': {
      const scale = dag.literal('f32', 2 ** -24);
      const uniform = (word: Ref): Ref => dag.binary('mul', dag.convert('f32', dag.shift('right', 8, word)), scale);
      return [uniform(words[0]), uniform(words[1])];
    }
    case 'integer': {
      const { low, high } = distribution;
      const range = dag.literal('u32', high - low);
      const scaled = (word: Ref): Ref =>
        dag.binary('add', dag.convert('i32', dag.mulHigh(word, range)), dag.literal('i32', low));
      return [scaled(words[0]), scaled(words[1])];
    }
  }
}

export function drawElement(dag: Dag, keys: Keys, node: NodeOf<'random'>, element: number): Ref {
  return drawPair(dag, keys, node, dag.literal('u32', element >>> 1))[element & 1];
}
