/**
 * Loop nests: what graphs are lowered to and what a renderer turns into a language. They name no language and no
 * instruction set. A nest is structured: loops of known extent around vector and scalar arithmetic on typed buffers.
 * What an op computes (NaN, ties, int32 wrap, clamps) is what docs/graph.md says of the graph op of that name.
 */

/** What the code is specialised to. */
export interface Target {
  /** float32 numbers of a vector: 16 (AVX-512), 8 (AVX2), 4 (NEON, SSE). */
  readonly lanes: 4 | 8 | 16;
  /** Vector registers that a product tile may count on. */
  readonly registers: 16 | 32;
}

/** Elements in memory. `u8` also holds bools, as 0 and 1. */
export type MemoryType = 'f32' | 'i32' | 'u8';

/** Values in registers. A `mask` is the result of a comparison. */
export type RegisterType = 'f32' | 'i32' | 'u32' | 'mask';

/** One number, or one number a lane. */
export type Width = 'scalar' | 'vector';

/**
 * An element offset within a buffer: offset + Σ factor·variable. Variables are loop variables, integer parameters of the
 * kernel, and scalar i32 `let`s.
 */
export interface Index {
  readonly offset: number;
  readonly terms: readonly { readonly variable: string; readonly factor: number }[];
}

/** One operand. Operands f32 or i32 alike; the result has their type. */
export type UnaryOp =
  | 'neg'
  | 'abs'
  | 'sign'
  | 'floor'
  | 'ceil'
  | 'round'
  | 'exp'
  | 'expm1'
  | 'log'
  | 'log1p'
  | 'sqrt'
  | 'rsqrt'
  | 'sin'
  | 'cos'
  | 'atan'
  | 'tanh'
  | 'sigmoid'
  | 'erf'
  /** f32 → mask. */
  | 'isNan'
  | 'isFinite'
  /** mask → mask. */
  | 'not';

export type BinaryOp =
  /** f32, i32 (wraps) and u32 (wraps). */
  | 'add'
  | 'sub'
  | 'mul'
  /** f32 and i32, as the graph ops. */
  | 'div'
  | 'mod'
  | 'max'
  | 'min'
  /** f32. */
  | 'pow'
  | 'atan2'
  /** → mask. */
  | 'eq'
  | 'ne'
  | 'lt'
  | 'le'
  | 'gt'
  | 'ge'
  /** mask, i32 and u32. */
  | 'and'
  | 'or'
  | 'xor';

export interface Read {
  readonly kind: 'read';
  /** A `let`, a `var`, a scalar parameter or a loop variable (scalar i32). */
  readonly name: string;
  readonly type: RegisterType;
  readonly width: Width;
}

/** Scalar and vector operands may be mixed: a scalar stands for all lanes. The result is a vector if any operand is. */
export type Expr =
  | Read
  /** Scalar. For a mask 0 or 1; NaN and infinities are allowed for f32. */
  | { readonly kind: 'literal'; readonly type: RegisterType; readonly value: number }
  /** Scalar i32: the value of an index. */
  | { readonly kind: 'position'; readonly index: Index }
  /** Vector i32: 0, 1, 2 … over the lanes. */
  | { readonly kind: 'ramp' }
  /**
   * Reads memory: f32 as f32, i32 as i32, u8 as i32 (0 … 255).
   * - scalar: one element.
   * - vector: lane l reads index + l·stride. `count` < lanes: only the first `count` lanes are touched, others are 0.
   */
  | {
      readonly kind: 'load';
      readonly buffer: string;
      readonly memory: MemoryType;
      readonly index: Index;
      readonly width: Width;
      readonly stride?: number;
      readonly count?: number;
    }
  /** Vector: lane l reads index + offsets_l (i32 vector, in elements); lanes from `count` on are 0 and read nothing. */
  | {
      readonly kind: 'gather';
      readonly buffer: string;
      readonly memory: MemoryType;
      readonly index: Index;
      readonly offsets: Expr;
      readonly count?: number;
    }
  | { readonly kind: 'unary'; readonly op: UnaryOp; readonly a: Expr }
  | { readonly kind: 'binary'; readonly op: BinaryOp; readonly a: Expr; readonly b: Expr }
  /** a·b + c rounded once. f32. */
  | { readonly kind: 'fma'; readonly a: Expr; readonly b: Expr; readonly c: Expr }
  /** condition is a mask; a and b of one type (a mask, too). Both are evaluated. */
  | { readonly kind: 'select'; readonly condition: Expr; readonly a: Expr; readonly b: Expr }
  /**
   * f32 → i32 truncates and saturates (NaN 0); i32, u32 → f32 round; mask → f32, i32 gives 0 or 1; f32, i32 → mask is
   * x ≠ 0 (true for NaN); i32 ↔ u32 keep the bits.
   */
  | { readonly kind: 'convert'; readonly to: RegisterType; readonly a: Expr }
  /** u32 shifts by a literal number of bits. */
  | { readonly kind: 'shift'; readonly direction: 'left' | 'right'; readonly by: number; readonly a: Expr }
  /** ⌊a·b/2³²⌋, u32. */
  | { readonly kind: 'mulHigh'; readonly a: Expr; readonly b: Expr }
  /**
   * Scalar from a vector, in a fixed order; NaN if any is. `count`: of the first lanes only. f32 and i32; `sum` of i32
   * wraps.
   */
  | {
      readonly kind: 'across';
      readonly op: 'sum' | 'max' | 'min';
      readonly a: Expr;
      readonly count?: number;
    }
  /**
   * Vector from one to four vectors, f32: lane i is the sum over the lanes of parts[i], in a fixed order; the lanes behind
   * are 0. What a product with lanes along k ends with. (Added for products; rendered by one prelude function.)
   */
  | { readonly kind: 'sums'; readonly parts: readonly Expr[] };

export type Statement =
  /**
   * for (variable = 0; variable < extent; variable += step). `extent` is a number or the name of a scalar i32
   * parameter. `unroll`: write the body out, extent/step times.
   */
  | {
      readonly kind: 'loop';
      readonly variable: string;
      readonly extent: number | string;
      readonly step: number;
      readonly unroll?: boolean;
      readonly body: readonly Statement[];
    }
  /**
   * A name for a value; assigned once. Visible until the end of the enclosing body. Names are unique in a kernel. `hold`:
   * the value is a vector that is loaded once for several operations; each of them loading it again costs more.
   */
  | { readonly kind: 'let'; readonly name: string; readonly value: Expr; readonly hold?: boolean }
  /** A variable with a first value. Its type and width are those of the value, or `width`. */
  | { readonly kind: 'var'; readonly name: string; readonly value: Expr; readonly width?: Width }
  | { readonly kind: 'set'; readonly name: string; readonly value: Expr }
  /**
   * Writes memory: an f32, i32 or mask value to f32, i32 or u8 elements (to u8: mask as 0/1, i32 0 … 255). A vector value
   * is written to index + l·stride, the first `count` lanes if given.
   */
  | {
      readonly kind: 'store';
      readonly buffer: string;
      readonly memory: MemoryType;
      readonly index: Index;
      readonly value: Expr;
      /** Of the value; a scalar value in a vector store goes to all lanes. */
      readonly width: Width;
      readonly stride?: number;
      readonly count?: number;
    }
  /** Vector store to index + offsets_l. Lanes ascend, so that of equal places the last lane wins. */
  | {
      readonly kind: 'scatter';
      readonly buffer: string;
      readonly memory: MemoryType;
      readonly index: Index;
      readonly offsets: Expr;
      readonly value: Expr;
      readonly count?: number;
    }
  /** A buffer of its own, uninitialised, vector-aligned, freed at the end of the kernel. */
  | { readonly kind: 'local'; readonly buffer: string; readonly memory: MemoryType; readonly length: number }
  /** Runs `then` if the scalar mask holds. */
  | { readonly kind: 'if'; readonly condition: Expr; readonly then: readonly Statement[] }
  /** Threefry-2x32-20 (src/random/threefry.ts). Operands u32, scalar or vector; two new `let`s. */
  | {
      readonly kind: 'threefry';
      readonly names: readonly [string, string];
      readonly key: readonly [Expr, Expr];
      readonly counter: readonly [Expr, Expr];
      readonly width: Width;
    }
  /** Box and Muller as in src/random/draws.ts from two u32 words; two new f32 `let`s. */
  | {
      readonly kind: 'normals';
      readonly names: readonly [string, string];
      readonly words: readonly [Expr, Expr];
      readonly width: Width;
    }
  /** A hint. */
  | { readonly kind: 'prefetch'; readonly buffer: string; readonly index: Index; readonly write?: boolean }
  /** Calls another kernel. Buffers are the caller's, at an offset; scalars are scalar expressions. */
  | {
      readonly kind: 'call';
      readonly kernel: Kernel;
      readonly buffers: readonly { readonly buffer: string; readonly index: Index }[];
      readonly scalars: readonly Expr[];
    }
  /**
   * Copies a block transposed: element (column, row) of `to` becomes element (row, column) of `from`, for row < rows and
   * column < columns, both at most the lanes; element (i, j) lies at index + i·stride + j. f32; the blocks do not overlap.
   * (Added for products; full blocks are transposed in registers.)
   */
  | {
      readonly kind: 'transpose';
      readonly from: { readonly buffer: string; readonly index: Index; readonly stride: number };
      readonly to: { readonly buffer: string; readonly index: Index; readonly stride: number };
      readonly rows: number;
      readonly columns: number;
    }
  /** For a person who reads the output, and for errors: which op of the graph the next lines come from. */
  | { readonly kind: 'note'; readonly text: string };

export interface BufferParameter {
  readonly name: string;
  readonly memory: MemoryType;
  /** Written by the kernel. */
  readonly written: boolean;
}
export interface ScalarParameter {
  readonly name: string;
  readonly type: 'i32' | 'u32' | 'f32';
}

/** One function. Buffers may alias, unless the kernel's lowering says otherwise in its own words. */
export interface Kernel {
  readonly name: string;
  readonly buffers: readonly BufferParameter[];
  readonly scalars: readonly ScalarParameter[];
  readonly body: readonly Statement[];
  /** Small and called in an inner loop. */
  readonly inline?: boolean;
}

export const MEMORY_BYTES: Readonly<Record<MemoryType, number>> = { f32: 4, i32: 4, u8: 1 };

/** Bytes of all local buffers of a kernel, at most: they lie on the stack of a thread. */
export const LOCAL_BYTES = 1 << 20;

/** Bytes of the local buffers that stand at the top of a kernel. */
export function localBytes({ body }: Kernel): number {
  return body.reduce((sum, s) => (s.kind === 'local' ? sum + MEMORY_BYTES[s.memory] * s.length : sum), 0);
}
