/** Values of a per-lane graph that lie in memory, [elements][lanes in flight], and the loops that compute them. */
import { sizeOf, type Node, type NodeOf, type ValueId } from '../../../../graph/ir';
import { rowMajorStrides } from '../../../../graph/interpreter/indexing';
import { unwindowed } from '../../../../graph/windows';
import { addIndex, index as indexOf, scaleIndex, shiftIndex, variableIndex } from '../../nest/builder';
import type { BinaryOp, Expr, Index, RegisterType, Statement } from '../../nest/ir';
import type { Ref } from './dag';
import { allCoordinates, flat, isElementwise, registerType, sameButForOnes, type Evaluator } from './evaluate';
import { loadHome, type Home } from './home';
import { isUnrolledProduct, writeProduct } from './products';
import { drawPair } from './random';

type Reduction = NodeOf<'reduceSum'> | NodeOf<'reduceMax'> | NodeOf<'reduceMin'> | NodeOf<'argMax'> | NodeOf<'argMin'>;

/** What is done to the elements of a product before the first is stored. */
export interface Epilogue {
  readonly product: ValueId;
  /** Elementwise nodes on the way from the product to the one that is stored, each after its operands. */
  readonly between: readonly ValueId[];
}

export class Tiles {
  /** Declarations, for the top of the kernel. */
  readonly locals: Statement[] = [];
  private readonly homes = new Map<ValueId, Home>();
  private readonly products = new Map<ValueId, Epilogue | undefined>();

  constructor(private readonly evaluator: Evaluator) {}

  has(id: ValueId): boolean {
    return this.homes.has(id);
  }

  /** Where a node's value lies; computes it into a tile if it lies nowhere. */
  home(id: ValueId): Home {
    const known = this.homes.get(id);
    if (known !== undefined) return known;
    const { dag } = this.evaluator;
    const node = this.evaluator.node(id);
    const memory = node.type.dtype === 'float32' ? 'f32' : 'i32';
    const varying = this.evaluator.varying(id);
    const buffer = this.local(memory, sizeOf(node.type.shape) * (varying ? dag.span : 1));
    const strides = rowMajorStrides(node.type.shape);
    const home: Home = { buffer, memory, varying, offset: indexOf(0), strides, after: [] };
    const writer = this.write(node, id, home);
    const written = { ...home, after: [writer] };
    this.homes.set(id, written);
    return written;
  }

  load(id: ValueId, at: readonly Index[]): Ref {
    return loadHome(this.evaluator.dag, this.home(id), at, registerType(this.evaluator.node(id).type.dtype));
  }

  /** The element at a row-major position. */
  loadFlat(id: ValueId, position: Index): Ref {
    const { evaluator } = this;
    const shape = evaluator.shape(id);
    const given = this.homes.get(id) ?? evaluator.home(id);
    const contiguous = given?.strides.every(
      (stride, axis) => stride === rowMajorStrides(shape)[axis] || shape[axis] === 1,
    );
    const home = given !== undefined && contiguous === true ? given : this.home(id);
    return loadHome(evaluator.dag, { ...home, strides: [1] }, [position], registerType(evaluator.node(id).type.dtype));
  }

  local(memory: 'f32' | 'i32', length: number): string {
    const buffer = this.evaluator.dag.names.fresh('tile');
    this.locals.push({ kind: 'local', buffer, memory, length: Math.max(1, length) });
    return buffer;
  }

  /** Stores an element at a row-major position. */
  store(home: Home, position: Index, value: Ref): void {
    const { dag } = this.evaluator;
    const number = dag.typeOf(value) === 'mask' ? dag.convert('i32', value) : value;
    const { buffer, memory, varying } = home;
    dag.effect([number], (read) =>
      varying
        ? Array.from({ length: dag.vectors }, (_, u) => ({
            kind: 'store' as const,
            buffer,
            memory,
            index: shiftIndex(scaleIndex(position, dag.span), u * dag.lanes),
            value: read(number, u),
            width: 'vector' as const,
          }))
        : [{ kind: 'store', buffer, memory, index: position, value: read(number, 0), width: 'scalar' }],
    );
  }

  /** Loops over all coordinates of a shape, in the open scope. */
  over(shape: readonly number[], make: (at: readonly Index[]) => void, at: readonly Index[] = []): void {
    if (at.length === shape.length) {
      make(at);
      return;
    }
    this.evaluator.dag.loop(shape[at.length], 1, (c) => this.over(shape, make, [...at, c]), { attached: true });
  }

  /** The looped product that an elementwise node computes on, alone, element by element. */
  epilogueOf(id: ValueId): Epilogue | undefined {
    if (!this.products.has(id)) this.products.set(id, this.findEpilogue(id));
    return this.products.get(id);
  }

  /** Downwards from the node, over what nothing reads but what was found before: a rectifier reads its product twice. */
  private findEpilogue(id: ValueId): Epilogue | undefined {
    const { evaluator } = this;
    if (!isElementwise(evaluator.node(id).op)) return undefined;
    const shape = evaluator.shape(id);
    const found = new Set([id]);
    const near = new Set(evaluator.node(id).inputs);
    while (near.size > 0) {
      const next = Math.max(...near);
      near.delete(next);
      const node = evaluator.node(next);
      if (!evaluator.readOnlyBy(next, found) || !sameButForOnes(evaluator.shape(next), shape)) continue;
      if (node.op === 'matmul' && !isUnrolledProduct(evaluator, next)) {
        return { product: next, between: this.between(next, id, found) };
      }
      if (!isElementwise(node.op) && node.op !== 'reshape') continue;
      found.add(next);
      for (const input of node.inputs) near.add(input);
    }
    return undefined;
  }

  /** Of the nodes found those that depend on the product, in order, without the last. */
  private between(product: ValueId, last: ValueId, found: ReadonlySet<ValueId>): readonly ValueId[] {
    const behind = new Set([product]);
    for (const id of [...found].sort((a, b) => a - b)) {
      if (this.evaluator.node(id).inputs.some((input) => behind.has(input))) behind.add(id);
    }
    return [...behind].filter((id) => id !== product && id !== last);
  }

  private write(node: Node, id: ValueId, home: Home): Ref {
    const { evaluator } = this;
    const { dag } = evaluator;
    const group = (make: () => void): Ref =>
      dag.block(
        () => evaluator.within(make),
        (body) => body,
      );
    const { shape } = node.type;
    if (node.op === 'matmul' && !isUnrolledProduct(evaluator, id)) {
      return group(() => writeProduct(evaluator, { product: id, between: [] }, id, home));
    }
    const epilogue = this.epilogueOf(id);
    if (epilogue !== undefined) return group(() => writeProduct(evaluator, epilogue, id, home));
    switch (node.op) {
      case 'concat':
        return group(() => {
          const { axis } = node.attributes;
          let before = 0;
          for (const part of node.inputs) {
            const start = before;
            before += evaluator.shape(part)[axis];
            this.fill(
              part,
              (at) =>
                flat(
                  shape,
                  at.map((c, i) => (i === axis ? shiftIndex(c, start) : c)),
                ),
              home,
            );
          }
        });
      case 'pad':
        return group(() => {
          const { low, interior } = node.attributes;
          this.zero(sizeOf(shape), home, registerType(node.type.dtype));
          const place = (at: readonly Index[]): Index =>
            flat(
              shape,
              at.map((c, i) => shiftIndex(scaleIndex(c, interior[i] + 1), low[i])),
            );
          this.fill(node.inputs[0], place, home);
        });
      case 'random':
        return group(() => this.draw(node, home));
      case 'scatterAdd':
        if (sizeOf(shape) > evaluator.options.unroll || evaluator.scattersMany(node)) {
          return group(() => this.scatter(node, home));
        }
        break;
      case 'foldWindows':
        if (sizeOf(shape) > evaluator.options.unroll) {
          return group(() => this.foldWindows(node, home));
        }
        break;
      default:
    }
    return group(() => {
      // An input that is no memory is a variable an element, which no loop can choose from.
      if (sizeOf(shape) <= evaluator.options.unroll || node.op === 'input') {
        for (const at of allCoordinates(shape)) this.store(home, flat(shape, at), evaluator.value(id, at));
      } else this.over(shape, (at) => this.store(home, flat(shape, at), evaluator.compute(id, at)));
    });
  }

  /** Copies a value to where `place` says. */
  private fill(id: ValueId, place: (at: readonly Index[]) => Index, home: Home): void {
    const { evaluator } = this;
    const shape = evaluator.shape(id);
    const store = (at: readonly Index[]): void => this.store(home, place(at), evaluator.value(id, at));
    if (sizeOf(shape) <= evaluator.options.unroll) allCoordinates(shape).forEach(store);
    else this.over(shape, store);
  }

  private zero(size: number, home: Home, type: RegisterType): void {
    const { dag } = this.evaluator;
    dag.loop(size, 1, (c) => this.store(home, c, dag.literal(type, 0)), { attached: true });
  }

  private draw(node: NodeOf<'random'>, home: Home): void {
    const { dag, lane } = this.evaluator;
    const size = sizeOf(node.type.shape);
    const pair = (block: Index, both: boolean): void => {
      const [first, second] = drawPair(dag, lane.keys!, node, dag.convert('u32', dag.position(block)));
      this.store(home, scaleIndex(block, 2), first);
      if (both) this.store(home, shiftIndex(scaleIndex(block, 2), 1), second);
    };
    dag.loop(Math.floor(size / 2), 1, (block) => pair(block, true), { attached: true });
    if (size % 2 === 1) pair(indexOf(Math.floor(size / 2)), false);
  }

  private scatter(node: NodeOf<'scatterAdd'>, home: Home): void {
    const { evaluator } = this;
    const { dag } = evaluator;
    const [indices, updates] = node.inputs;
    const [rows, ...rest] = node.type.shape;
    const factor = home.varying ? dag.span : 1;
    const width = sizeOf(rest);
    this.zero(rows * width, home, registerType(node.type.dtype));
    this.over(evaluator.shape(indices), (at) => {
      const row = evaluator.clampRow(evaluator.value(indices, at), rows);
      const steps = dag.binary('mul', row, dag.literal('i32', width * factor));
      const offsets = home.varying ? dag.binary('add', steps, dag.lane()) : steps;
      this.over(rest, (inside) => {
        const update = evaluator.value(updates, [...at, ...inside]);
        this.addAt(home, scaleIndex(flat(rest, inside), factor), offsets, update);
      });
    });
  }

  private foldWindows(node: NodeOf<'foldWindows'>, home: Home): void {
    const { evaluator } = this;
    const { dag } = evaluator;
    const { axes, strides, dilations } = node.attributes;
    const [operand] = node.inputs;
    const { shape } = node.type;
    const factor = home.varying ? dag.span : 1;
    this.zero(sizeOf(shape), home, registerType(node.type.dtype));
    this.over(evaluator.shape(operand), (at) => {
      const seen = unwindowed(at, axes, (i, place, within) =>
        addIndex(scaleIndex(place, strides[i]), scaleIndex(within, dilations[i])),
      );
      const offsets = home.varying ? dag.lane() : dag.literal('i32', 0);
      this.addAt(home, scaleIndex(flat(shape, seen), factor), offsets, evaluator.value(operand, at));
    });
  }

  /** home[index + offsets] += update. */
  private addAt(home: Home, index: Index, offsets: Ref, update: Ref): void {
    const { dag } = this.evaluator;
    const { buffer, memory } = home;
    const sum = (old: Expr, more: Expr): Expr => ({ kind: 'binary', op: 'add', a: old, b: more });
    dag.effect([offsets, update], (read) => {
      if (home.varying) {
        return Array.from({ length: dag.vectors }, (_, u) => {
          const at = read(offsets, u);
          const old: Expr = { kind: 'gather', buffer, memory, index, offsets: at };
          return { kind: 'scatter', buffer, memory, index, offsets: at, value: sum(old, read(update, u)) };
        });
      }
      const at = read(offsets, 0);
      const place =
        at.kind === 'read'
          ? addIndex(index, variableIndex(at.name))
          : shiftIndex(index, at.kind === 'literal' ? at.value : NaN);
      const old: Expr = { kind: 'load', buffer, memory, index: place, width: 'scalar' };
      return [{ kind: 'store', buffer, memory, index: place, value: sum(old, read(update, 0)), width: 'scalar' }];
    });
  }

  /** One element of a reduction. */
  reduce(node: Reduction, id: ValueId, at: readonly Index[]): Ref {
    const { evaluator } = this;
    const [operand] = node.inputs;
    const shape = evaluator.shape(operand);
    const axes = 'axes' in node.attributes ? node.attributes.axes : [node.attributes.axis];
    const reduced = axes.map((axis) => shape[axis]);
    const element = (inside: readonly Index[]): Ref => {
      let kept = 0;
      return evaluator.value(
        operand,
        shape.map((_, axis) => (axes.includes(axis) ? inside[axes.indexOf(axis)] : at[kept++])),
      );
    };
    const type = registerType(evaluator.node(operand).type.dtype);
    if (sizeOf(reduced) > evaluator.options.unroll) return this.reduceByLoop(node, id, reduced, element, type);
    const values = allCoordinates(reduced).map(element);
    switch (node.op) {
      case 'reduceSum':
        return this.sum(values, type);
      case 'reduceMax':
      case 'reduceMin':
        return this.pairwise(node.op === 'reduceMax' ? 'max' : 'min', values);
      case 'argMax':
      case 'argMin':
        return this.first(node.op === 'argMax' ? 'gt' : 'lt', values);
    }
  }

  /** Four chains for many numbers, so that none waits for another. */
  sum(values: readonly Ref[], type: RegisterType): Ref {
    const { dag } = this.evaluator;
    if (values.length === 0) return dag.literal(type, 0);
    const chains = values.length >= 16 ? 4 : 1;
    const sums = values.slice(0, chains);
    for (let i = chains; i < values.length; i++) sums[i % chains] = dag.binary('add', sums[i % chains], values[i]);
    return this.pairwise('add', sums);
  }

  private pairwise(op: BinaryOp, values: readonly Ref[]): Ref {
    if (values.length === 1) return values[0];
    const half = Math.ceil(values.length / 2);
    return this.evaluator.dag.binary(
      op,
      this.pairwise(op, values.slice(0, half)),
      this.pairwise(op, values.slice(half)),
    );
  }

  /** Index of the first that no other beats. */
  private first(beats: 'gt' | 'lt', values: readonly Ref[]): Ref {
    const { dag } = this.evaluator;
    let best = values[0];
    let at = dag.literal('i32', 0);
    for (let i = 1; i < values.length; i++) {
      const better = dag.binary(beats, values[i], best);
      best = dag.select(better, values[i], best);
      at = dag.select(better, dag.literal('i32', i), at);
    }
    return at;
  }

  private reduceByLoop(
    node: Reduction,
    id: ValueId,
    reduced: readonly number[],
    element: (inside: readonly Index[]) => Ref,
    type: RegisterType,
  ): Ref {
    const { evaluator } = this;
    const { dag } = evaluator;
    const width = evaluator.varying(id) ? 'vector' : 'scalar';
    const copies = width === 'vector' ? dag.vectors : 1;
    const variables = (): readonly string[] => Array.from({ length: copies }, () => dag.names.fresh('a'));
    const bests = variables();
    const places = variables();
    const finds = node.op === 'argMax' || node.op === 'argMin';
    const largest = node.op === 'reduceMin' || node.op === 'argMin';
    const extreme = type === 'f32' ? Infinity : largest ? 2147483647 : 2147483648;
    const start = node.op === 'reduceSum' ? 0 : largest ? extreme : -extreme;
    const body = (inside: readonly Index[]): void => {
      const x = element(inside);
      if (node.op === 'reduceSum') {
        const sum = dag.binary(
          'add',
          dag.variable((u) => bests[u], type, width, dag.current, []),
          x,
        );
        dag.effect([sum], (read) => bests.map((name, u) => ({ kind: 'set', name, value: read(sum, u) })));
        return;
      }
      const position = dag.position(flat(reduced, inside));
      dag.effect([x, position], (read) =>
        bests.flatMap((name, u) => {
          const best: Expr = { kind: 'read', name, type, width };
          if (!finds) {
            const op = node.op === 'reduceMax' ? 'max' : 'min';
            return [{ kind: 'set', name, value: { kind: 'binary', op, a: best, b: read(x, u) } }];
          }
          return findStep(node.op === 'argMax' ? 'gt' : 'lt', best, places[u], read(x, u), read(position, u));
        }),
      );
    };
    const literal = (of: RegisterType, value: number): Expr => ({ kind: 'literal', type: of, value });
    const before: readonly Statement[] = [
      ...bests.map((name): Statement => ({ kind: 'var', name, value: literal(type, start), width })),
      ...(finds ? places.map((name): Statement => ({ kind: 'var', name, value: literal('i32', 0), width })) : []),
    ];
    const block = dag.block(
      () => evaluator.within(() => this.over(reduced, body)),
      (inner) => [...before, ...inner],
    );
    const [names, kind] = finds ? ([places, 'i32'] as const) : ([bests, type] as const);
    return dag.variable((u) => names[u], kind, width, 0, [block]);
  }
}

/** best, place = value, position where value beats best. */
function findStep(op: 'gt' | 'lt', best: Expr, place: string, value: Expr, position: Expr): Statement[] {
  if (best.kind !== 'read') return [];
  const old: Expr = { kind: 'read', name: place, type: 'i32', width: best.width };
  const better: Expr = { kind: 'binary', op, a: value, b: best };
  return [
    { kind: 'set', name: place, value: { kind: 'select', condition: better, a: position, b: old } },
    { kind: 'set', name: best.name, value: { kind: 'select', condition: better, a: value, b: best } },
  ];
}
