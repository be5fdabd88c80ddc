import type { OptimizerUpdate, TensorTree } from '../src/contracts';

type Update = OptimizerUpdate<TensorTree, TensorTree>;

/** The arguments with some of them replaced. The loss is handed on unread, since not every training has one. */
export function replaced(args: Update, changes: Partial<Update>): Update {
  const all = { ...Object.getOwnPropertyDescriptors(args), ...Object.getOwnPropertyDescriptors(changes) };
  return Object.defineProperties({}, all) as Update;
}
