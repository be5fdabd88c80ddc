/**
 * Straight-line and looped lane code as a graph of single operations. A node is computed in the outermost scope that has
 * its operands (what does not change in a loop leaves it by construction), equal nodes are one node, dead ones are
 * dropped, and a product that is used once, by a sum, is fused with it. A vector node stands for `vectors` vectors in
 * flight.
 */
import type { BinaryOp, Expr, Index, MemoryType, RegisterType, Statement, UnaryOp, Width } from '../../nest/ir';
import { addIndex, index as indexOf, shiftIndex, variableIndex } from '../../nest/builder';
import type { Names } from '../../nest/names';
import { regroupProduct, simplifyBinary, simplifyConvert, simplifySelect, simplifyUnary } from './simplify';

/** A node. */
export type Ref = number;

/** A body of statements: 0 is the kernel's; a loop inside has a higher number than those around it. */
export type ScopeId = number;

/** Gives the expression of a node for vector number u. */
export type Reader = (ref: Ref, u: number) => Expr;

type Content =
  | { readonly kind: 'literal'; readonly value: number }
  | { readonly kind: 'leaf'; readonly inline: boolean; readonly expr: (u: number) => Expr }
  | { readonly kind: 'apply'; readonly op: string; readonly build: (args: readonly Expr[], u: number) => Expr }
  | { readonly kind: 'pair'; readonly make: 'threefry' | 'normals' }
  | { readonly kind: 'half'; readonly which: 0 | 1 }
  | { readonly kind: 'effect'; readonly write: (read: Reader) => readonly Statement[] }
  | {
      readonly kind: 'block';
      readonly inner: ScopeId;
      readonly wrap: (body: readonly Statement[], read: Reader) => readonly Statement[];
    };

interface DagNode {
  readonly content: Content;
  readonly args: readonly Ref[];
  readonly scope: ScopeId;
  /** Scopes whose variables it names itself. */
  readonly named: readonly ScopeId[];
  readonly type: RegisterType;
  readonly width: Width;
  /** What of the graph it comes from. */
  readonly origin: string;
}

export interface LoadOptions {
  readonly buffer: string;
  readonly memory: MemoryType;
  readonly index: Index;
  readonly width: Width;
  /** Elements from one vector in flight to the next; for vectors. */
  readonly perVector?: number;
  readonly stride?: number;
  /** Writers that must have run. */
  readonly after?: readonly Ref[];
  /** Written out at every use instead of being named. */
  readonly inline?: boolean;
}

export interface DagOptions {
  readonly names: Names;
  readonly lanes: number;
  /** Vectors in flight. */
  readonly vectors: number;
  /** Lanes of vector u that are there, if not all; the others hold anything. */
  readonly count?: (u: number) => number | undefined;
}

export class Dag {
  private readonly nodes: DagNode[] = [];
  private readonly byKey = new Map<string, Ref>();
  private readonly scopeOfVariable = new Map<string, ScopeId>();
  /** Effects and loops that belong to a scope whatever they depend on. */
  private readonly attached: Ref[][] = [[]];
  private readonly members: Ref[][] = [[]];
  private readonly open: ScopeId[] = [0];
  private origin = '';

  readonly names: Names;
  readonly lanes: number;
  readonly vectors: number;
  readonly count: (u: number) => number | undefined;

  constructor(options: DagOptions) {
    this.names = options.names;
    this.lanes = options.lanes;
    this.vectors = options.vectors;
    this.count = options.count ?? (() => undefined);
  }

  /** Lanes of all vectors in flight. */
  get span(): number {
    return this.lanes * this.vectors;
  }

  /** What `make` makes is said to come from there. */
  from<T>(origin: string, make: () => T): T {
    const before = this.origin;
    this.origin = origin;
    try {
      return make();
    } finally {
      this.origin = before;
    }
  }

  typeOf(ref: Ref): RegisterType {
    return this.nodes[ref].type;
  }

  widthOf(ref: Ref): Width {
    return this.nodes[ref].width;
  }

  scopeOf(ref: Ref): ScopeId {
    return this.nodes[ref].scope;
  }

  literalOf(ref: Ref): number | undefined {
    const { content } = this.nodes[ref];
    return content.kind === 'literal' ? content.value : undefined;
  }

  /** x, if the node is −x. */
  negated(ref: Ref): Ref | undefined {
    const { content, args } = this.nodes[ref];
    return content.kind === 'apply' && content.op === 'neg' ? args[0] : undefined;
  }

  /** The factors of a float product. */
  factors(ref: Ref): readonly [Ref, Ref] | undefined {
    const { content, args, type } = this.nodes[ref];
    return content.kind === 'apply' && content.op === 'mul' && type === 'f32' ? [args[0], args[1]] : undefined;
  }

  literal(type: RegisterType, value: number): Ref {
    const text = Object.is(value, -0) ? '-0' : String(value);
    return this.once(`${type}:${text}`, () => this.add({ kind: 'literal', value }, [], type, 'scalar'));
  }

  unary(op: UnaryOp, a: Ref): Ref {
    const simple = simplifyUnary(this, op, a);
    if (simple !== undefined) return simple;
    const mask = op === 'isNan' || op === 'isFinite' || op === 'not';
    return this.apply(op, mask ? 'mask' : this.typeOf(a), [a], ([x]) => ({ kind: 'unary', op, a: x }));
  }

  binary(op: BinaryOp, a: Ref, b: Ref): Ref {
    const simple = simplifyBinary(this, op, a, b) ?? (op === 'mul' ? regroupProduct(this, a, b) : undefined);
    if (simple !== undefined) return simple;
    const mask = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'].includes(op);
    const commutes = ['add', 'mul', 'eq', 'ne', 'and', 'or', 'xor'].includes(op);
    const args = commutes && a > b ? [b, a] : [a, b];
    return this.apply(op, mask ? 'mask' : this.typeOf(a), args, ([x, y]) => ({ kind: 'binary', op, a: x, b: y }));
  }

  fma(a: Ref, b: Ref, c: Ref): Ref {
    return this.apply('fma', 'f32', [a, b, c], ([x, y, z]) => ({ kind: 'fma', a: x, b: y, c: z }));
  }

  select(condition: Ref, a: Ref, b: Ref): Ref {
    const simple = simplifySelect(this, condition, a, b);
    if (simple !== undefined) return simple;
    return this.apply('select', this.typeOf(a), [condition, a, b], ([c, x, y]) => ({
      kind: 'select',
      condition: c,
      a: x,
      b: y,
    }));
  }

  convert(to: RegisterType, a: Ref): Ref {
    const simple = simplifyConvert(this, to, a);
    if (simple !== undefined) return simple;
    return this.apply(`to ${to}`, to, [a], ([x]) => ({ kind: 'convert', to, a: x }));
  }

  shift(direction: 'left' | 'right', by: number, a: Ref): Ref {
    return this.apply(`${direction} ${String(by)}`, 'u32', [a], ([x]) => ({ kind: 'shift', direction, by, a: x }));
  }

  mulHigh(a: Ref, b: Ref): Ref {
    return this.apply('mulHigh', 'u32', [a, b], ([x, y]) => ({ kind: 'mulHigh', a: x, b: y }));
  }

  threefry(key: readonly [Ref, Ref], counter: readonly [Ref, Ref]): readonly [Ref, Ref] {
    return this.pair('threefry', 'u32', [...key, ...counter]);
  }

  normals(words: readonly [Ref, Ref]): readonly [Ref, Ref] {
    return this.pair('normals', 'f32', words);
  }

  /** Scalar i32. */
  position(of: Index): Ref {
    if (of.terms.length === 0) return this.literal('i32', of.offset);
    const named = this.scopesOf(of);
    return this.once(`position ${key(of)}`, () =>
      this.add(
        { kind: 'leaf', inline: false, expr: () => ({ kind: 'position', index: of }) },
        [],
        'i32',
        'scalar',
        named,
      ),
    );
  }

  /** Vector i32: number of the lane among all lanes in flight. */
  lane(): Ref {
    return this.once('lane', () =>
      this.add(
        {
          kind: 'leaf',
          inline: false,
          expr: (u) => {
            const ramp: Expr = { kind: 'ramp' };
            const first: Expr = { kind: 'literal', type: 'i32', value: u * this.lanes };
            return u === 0 ? ramp : { kind: 'binary', op: 'add', a: ramp, b: first };
          },
        },
        [],
        'i32',
        'vector',
      ),
    );
  }

  load(options: LoadOptions): Ref {
    const { buffer, memory, index, width, perVector = this.lanes, stride, after = [], inline = false } = options;
    const named = this.scopesOf(index);
    const expr = (u: number): Expr => {
      const count = width === 'vector' ? this.count(u) : undefined;
      return {
        kind: 'load',
        buffer,
        memory,
        index: width === 'vector' ? shiftIndex(index, u * perVector) : index,
        width,
        ...(stride !== undefined && stride !== 1 && { stride }),
        ...(count !== undefined && { count }),
      };
    };
    const name = `load ${buffer} ${key(index)} ${width} ${String(perVector)} ${String(stride)} ${after.join()}`;
    const type = memory === 'f32' ? 'f32' : 'i32';
    return this.once(name, () => this.add({ kind: 'leaf', inline, expr }, after, type, width, named));
  }

  /** buffer[index + offsets]: one element a lane, or one if `offsets` is a scalar. */
  gather(buffer: string, memory: MemoryType, index: Index, offsets: Ref, after: readonly Ref[] = []): Ref {
    const named = this.scopesOf(index);
    const type = memory === 'f32' ? 'f32' : 'i32';
    const vector = this.widthOf(offsets) === 'vector';
    const build = ([at]: readonly Expr[]): Expr => {
      if (vector) return { kind: 'gather', buffer, memory, index, offsets: at };
      if (at.kind === 'literal') {
        return { kind: 'load', buffer, memory, index: shiftIndex(index, at.value), width: 'scalar' };
      }
      if (at.kind !== 'read') throw new Error('an offset that is no variable; this is a defect of the lane code.');
      const place = addIndex(index, variableIndex(at.name));
      return { kind: 'load', buffer, memory, index: place, width: 'scalar' };
    };
    return this.apply(`gather ${buffer} ${key(index)}`, type, [offsets, ...after], build, named);
  }

  /** Reads a variable (of a block that has run): a new name for what it holds then. */
  variable(name: (u: number) => string, type: RegisterType, width: Width, scope: ScopeId, after: readonly Ref[]): Ref {
    const expr = (u: number): Expr => ({ kind: 'read', name: name(u), type, width });
    return this.add({ kind: 'leaf', inline: false, expr }, after, type, width, [scope]);
  }

  /** Statements run in the open scope, after what they read. */
  effect(args: readonly Ref[], write: (read: Reader) => readonly Statement[]): Ref {
    const ref = this.add({ kind: 'effect', write }, args, 'i32', 'scalar', [this.current]);
    this.attached[this.current].push(ref);
    return ref;
  }

  /**
   * Statements of their own scope, wrapped. `attached`: they run in the scope that is open now; else they run in the
   * outermost that has what they read, and only if something needs them.
   */
  block(
    make: () => void,
    wrap: (body: readonly Statement[], read: Reader) => readonly Statement[],
    options: { readonly attached?: boolean; readonly variable?: string; readonly args?: readonly Ref[] } = {},
  ): Ref {
    const { attached = false, variable, args = [] } = options;
    const inner = this.members.length;
    this.members.push([]);
    this.attached.push([]);
    if (variable !== undefined) this.scopeOfVariable.set(variable, inner);
    this.open.push(inner);
    try {
      make();
    } finally {
      this.open.pop();
    }
    // What the inside names of the outside: the block can stand no further out.
    const inside = this.members[inner].map((member) => this.nodes[member]);
    const used = inside.flatMap((node) => [...node.named, ...node.args.map((arg) => this.scopeOf(arg))]);
    const outside = [...new Set(used)].filter((scope) => scope < inner);
    const outer = this.current;
    const named = attached ? [outer, ...outside] : outside;
    const ref = this.add({ kind: 'block', inner, wrap }, args, 'i32', 'scalar', named);
    if (attached) this.attached[outer].push(ref);
    return ref;
  }

  /** A block that is a loop; one round is written without a loop. */
  loop(
    extent: number | string,
    step: number,
    make: (variable: Index) => void,
    options: {
      readonly attached?: boolean;
      readonly args?: readonly Ref[];
      /** Statements before the loop. */
      readonly before?: (read: Reader) => readonly Statement[];
    } = {},
  ): Ref {
    const { before = () => [], ...rest } = options;
    if (typeof extent === 'number' && extent <= step) {
      const once = (body: readonly Statement[], read: Reader): readonly Statement[] => [...before(read), ...body];
      return this.block(() => extent > 0 && make(indexOf(0)), once, rest);
    }
    const variable = this.names.fresh('i');
    return this.block(
      () => make(variableIndex(variable)),
      (body, read) => [...before(read), { kind: 'loop', variable, extent, step, body }],
      { ...rest, variable },
    );
  }

  /** The innermost scope that is open. */
  get current(): ScopeId {
    return this.open[this.open.length - 1];
  }

  /** The kernel's body: everything attached to scope 0 and what it needs. */
  finish(): readonly Statement[] {
    return new Writer(this.nodes, this.members, this.attached, this.names, this.vectors).write();
  }

  private scopesOf(of: Index): readonly ScopeId[] {
    return of.terms.map(({ variable }) => this.scopeOfVariable.get(variable) ?? 0);
  }

  private apply(
    op: string,
    type: RegisterType,
    args: readonly Ref[],
    build: (args: readonly Expr[], u: number) => Expr,
    named: readonly ScopeId[] = [],
  ): Ref {
    return this.once(`${op}(${args.join()})`, () =>
      this.add({ kind: 'apply', op, build }, args, type, this.widest(args), named),
    );
  }

  private pair(make: 'threefry' | 'normals', type: RegisterType, args: readonly Ref[]): readonly [Ref, Ref] {
    const both = this.once(`${make}(${args.join()})`, () =>
      this.add({ kind: 'pair', make }, args, type, this.widest(args)),
    );
    const half = (which: 0 | 1): Ref =>
      this.once(`half ${String(which)} ${String(both)}`, () =>
        this.add({ kind: 'half', which }, [both], type, this.widthOf(both)),
      );
    return [half(0), half(1)];
  }

  private widest(args: readonly Ref[]): Width {
    return args.some((arg) => this.isVector(arg)) ? 'vector' : 'scalar';
  }

  private isVector(ref: Ref): boolean {
    const { width, content } = this.nodes[ref];
    return width === 'vector' && content.kind !== 'block' && content.kind !== 'effect';
  }

  private once(name: string, make: () => Ref): Ref {
    const known = this.byKey.get(name);
    if (known !== undefined) return known;
    const ref = make();
    this.byKey.set(name, ref);
    return ref;
  }

  private add(
    content: Content,
    args: readonly Ref[],
    type: RegisterType,
    width: Width,
    named: readonly ScopeId[] = [],
  ): Ref {
    const scope = Math.max(0, ...named, ...args.map((arg) => this.scopeOf(arg)));
    this.nodes.push({ content, args, scope, named, type, width, origin: this.origin });
    const ref = this.nodes.length - 1;
    this.members[scope].push(ref);
    return ref;
  }
}

function key({ offset, terms }: Index): string {
  return `${String(offset)}${terms.map(({ variable, factor }) => `+${String(factor)}${variable}`).join('')}`;
}

/**
 * Nodes that are written for one vector before they are written for the next. Cores run far enough ahead to overlap so
 * many, compilers keep the order, and what one vector needs in between does not take registers from the others.
 */
const RUN = 48;

/** Writes the live nodes, scope by scope, each in the order of its making. */
class Writer {
  private readonly live: Uint8Array;
  private readonly uses: Int32Array;
  private readonly fused: Uint8Array;
  private readonly namesOf = new Map<Ref, string[]>();

  constructor(
    private readonly nodes: readonly DagNode[],
    private readonly members: readonly (readonly Ref[])[],
    private readonly attached: readonly (readonly Ref[])[],
    private readonly names: Names,
    private readonly vectors: number,
  ) {
    this.live = new Uint8Array(nodes.length);
    this.uses = new Int32Array(nodes.length);
    this.fused = new Uint8Array(nodes.length);
  }

  write(): readonly Statement[] {
    this.mark();
    this.fuse();
    return this.scope(0);
  }

  private mark(): void {
    const pending = [...this.attached[0]];
    for (let ref = pending.pop(); ref !== undefined; ref = pending.pop()) {
      if (this.live[ref] === 1) continue;
      this.live[ref] = 1;
      const { content, args } = this.nodes[ref];
      if (content.kind === 'block') pending.push(...this.attached[content.inner]);
      for (const arg of args) this.uses[arg]++;
      pending.push(...args);
    }
  }

  /**
   * Marks the products that become part of a sum. A difference of two products of variables is left alone: of equal ones
   * it has to be 0, not what one of them was rounded by.
   */
  private fuse(): void {
    this.nodes.forEach((node, ref) => {
      if (this.live[ref] === 0 || node.content.kind !== 'apply' || node.type !== 'f32') return;
      const { op } = node.content;
      if (op !== 'add' && op !== 'sub') return;
      const products = node.args.filter((arg) => this.isProduct(arg));
      const scaled = products.filter((arg) => this.nodes[arg].args.some((factor) => this.isLiteral(factor)));
      if (op === 'sub' && products.length === 2 && scaled.length !== 1) return;
      // The other product of two is an operand that comes first, as sums are built left to right.
      const chosen = products.filter((arg) => this.uses[arg] === 1 && this.nodes[arg].scope === node.scope).pop();
      if (chosen !== undefined) this.fused[chosen] = 1;
    });
  }

  private isLiteral(ref: Ref): boolean {
    return this.nodes[ref].content.kind === 'literal';
  }

  private isProduct(ref: Ref): boolean {
    const { content, type } = this.nodes[ref];
    return content.kind === 'apply' && content.op === 'mul' && type === 'f32';
  }

  private scope(scope: ScopeId): readonly Statement[] {
    const out: Statement[] = [];
    let run: Ref[] = [];
    const close = (): void => {
      out.push(...this.run(run));
      run = [];
    };
    for (const ref of this.members[scope]) {
      if (this.live[ref] === 0 || this.fused[ref] === 1) continue;
      const { content, origin } = this.nodes[ref];
      if (content.kind === 'effect' || content.kind === 'block') {
        close();
        const body = content.kind === 'block' ? this.scope(content.inner) : [];
        if (origin !== '' && content.kind === 'block') out.push({ kind: 'note', text: origin });
        out.push(...(content.kind === 'block' ? content.wrap(body, this.read) : content.write(this.read)));
      } else if (
        content.kind !== 'literal' &&
        content.kind !== 'half' &&
        !(content.kind === 'leaf' && content.inline)
      ) {
        run.push(ref);
        if (run.length === RUN) close();
      }
    }
    close();
    return out;
  }

  /** Nodes without effects: all for one vector before the next. */
  private run(run: readonly Ref[]): readonly Statement[] {
    const out: Statement[] = [];
    for (let u = 0; u < this.vectors; u++) {
      let origin = '';
      for (const ref of run) {
        const node = this.nodes[ref];
        if (u > 0 && node.width !== 'vector') continue;
        if (u === 0 && node.origin !== origin && node.origin !== '') out.push({ kind: 'note', text: node.origin });
        origin = node.origin;
        out.push(this.statement(ref, u));
      }
    }
    return out;
  }

  private statement(ref: Ref, u: number): Statement {
    const { content, args, width } = this.nodes[ref];
    const names = this.namesOf.get(ref) ?? [];
    this.namesOf.set(ref, names);
    if (content.kind === 'pair') {
      const pair = [this.names.fresh('w'), this.names.fresh('w')] as const;
      names.push(...pair);
      return this.pair(content.make, pair, args, u, width);
    }
    const value = content.kind === 'leaf' ? content.expr(u) : this.applied(ref, u);
    const name = this.names.fresh('x');
    names.push(name);
    return { kind: 'let', name, value };
  }

  private pair(
    make: 'threefry' | 'normals',
    names: readonly [string, string],
    args: readonly Ref[],
    u: number,
    width: Width,
  ): Statement {
    const [a, b, c, d] = args.map((arg) => this.read(arg, u));
    return make === 'threefry'
      ? { kind: 'threefry', names, key: [a, b], counter: [c, d], width }
      : { kind: 'normals', names, words: [a, b], width };
  }

  private applied(ref: Ref, u: number): Expr {
    const { content, args } = this.nodes[ref];
    if (content.kind !== 'apply') throw new Error('not an operation; this is a defect of the lane code.');
    const at = args.findIndex((arg) => this.fused[arg] === 1);
    if ((content.op !== 'add' && content.op !== 'sub') || at < 0) {
      return content.build(
        args.filter((arg) => this.nodes[arg].content.kind !== 'block').map((arg) => this.read(arg, u)),
        u,
      );
    }
    const [p, q] = this.nodes[args[at]].args.map((arg) => this.read(arg, u));
    const rest = this.read(args[1 - at], u);
    if (content.op === 'add') return { kind: 'fma', a: p, b: q, c: rest };
    if (at === 0) return { kind: 'fma', a: p, b: q, c: negative(rest) };
    return q.kind === 'literal'
      ? { kind: 'fma', a: p, b: negative(q), c: rest }
      : { kind: 'fma', a: negative(p), b: q, c: rest };
  }

  private readonly read: Reader = (ref, u) => {
    const { content, width, type, args } = this.nodes[ref];
    if (content.kind === 'literal') return { kind: 'literal', type, value: content.value };
    if (content.kind === 'leaf' && content.inline) return content.expr(u);
    const copy = width === 'vector' ? u : 0;
    const name = content.kind === 'half' ? this.name(args[0], 2 * copy + content.which) : this.name(ref, copy);
    return { kind: 'read', name, type, width };
  };

  private name(ref: Ref, at: number): string {
    const names = this.namesOf.get(ref);
    if (names === undefined) throw new Error('a value is read before it is made; this is a defect of the lane code.');
    return names[at];
  }
}

function negative(value: Expr): Expr {
  if (value.kind === 'literal') return { ...value, value: -value.value };
  return { kind: 'unary', op: 'neg', a: value };
}
