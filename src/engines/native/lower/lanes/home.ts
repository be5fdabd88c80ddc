/** Where values of a per-lane graph lie. */
import { addIndex, scaleIndex } from '../../nest/builder';
import type { Index, MemoryType, RegisterType } from '../../nest/ir';
import type { Dag, Ref } from './dag';

/** Elements lie at offset + Σ coordinate·strides; if `varying`, there are as many as lanes in flight at each place. */
export interface Home {
  readonly buffer: string;
  readonly memory: MemoryType;
  readonly varying: boolean;
  readonly offset: Index;
  readonly strides: readonly number[];
  /** Writers that must have run. */
  readonly after: readonly Ref[];
}

/** Where an input of a per-lane graph comes from: memory, or `at`, which gives the element at coordinates. */
export type Source =
  | { readonly kind: 'memory'; readonly home: Home }
  | {
      readonly kind: 'computed';
      /** Another number in every lane. */
      readonly varying: boolean;
      /** Whether the coordinates may run with loops. */
      readonly running: boolean;
      readonly at: (coordinates: readonly Index[]) => Ref;
    };

/** The element at coordinates. */
export function loadHome(dag: Dag, home: Home, at: readonly Index[], type: RegisterType): Ref {
  const place = addIndex(home.offset, ...at.map((c, axis) => scaleIndex(c, home.strides[axis])));
  const loaded = dag.load({
    buffer: home.buffer,
    memory: home.memory,
    index: home.varying ? scaleIndex(place, dag.span) : place,
    width: home.varying ? 'vector' : 'scalar',
    after: home.after,
    // Read where it is used: a register each for what all lanes share would be spilled.
    inline: !home.varying && place.terms.length === 0,
  });
  return dag.convert(type, loaded);
}
