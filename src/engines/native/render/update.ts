/** C of an optimizer by itself (`UpdateProgram`): kernels, weights, and the functions that call them. */
import { tableOf } from '../nest/dedupe';
import { localBytes } from '../nest/ir';
import type { KernelCall, Place, PlannedFunction, ProgramTable, UpdateProgram } from '../plan/program';
import { floatText, renderKernels } from './c';
import { PORTABLE, portableHead } from './portable';
import { ALIGNMENT, offsetText, type NameOf } from './request';

export interface UpdateText {
  /** Everything but the declarations of what a caller sees, which `includes` names. */
  readonly source: string;
  /** float32 numbers of the members `state`, `constants` and `scratch` of the state's structure. */
  readonly numbers: { readonly state: number; readonly constants: number; readonly scratch: number };
  /** Bytes of local buffers on the stack. */
  readonly stack: number;
}

/** Buffers of 64 bytes a row or a vector end within; never none, which C has no arrays of. */
const numbersOf = (bytes: number): number => (bytes + ALIGNMENT) / 4;

function dataText(name: string, data: Float32Array | Int32Array | Uint8Array): string {
  const [type, text] =
    data instanceof Float32Array
      ? ['float', (x: number) => floatText(x, PORTABLE)]
      : data instanceof Int32Array
        ? ['int32_t', (x: number) => (x === -(2 ** 31) ? 'INT32_MIN' : String(x))]
        : ['uint8_t', String];
  const rows: string[] = [];
  const items = Array.from(data, (x) => text(x));
  for (let i = 0; i < items.length; i += 8) rows.push(`  ${items.slice(i, i + 8).join(', ')},`);
  return `static const ${type} ${name}[${data.length}] = {\n${rows.join('\n')}\n};\n`;
}

const tableData = (table: ProgramTable): Float32Array | Int32Array | Uint8Array =>
  table.kind === 'constant' ? table.data : table.table.values;

/**
 * @param prefix of the two functions `<prefix>_init` and `<prefix>_update` and of the type `<prefix>_state`
 * @param theta the weights, written into the text
 */
export function renderUpdate(program: UpdateProgram, prefix: string, theta: Float32Array): UpdateText {
  const { state, init, update, tables, target } = program;
  const all = [...update.prologue, ...init.calls, ...update.calls];
  const table = tableOf(all.map(({ kernel }) => kernel));
  const kernels = renderKernels(table, target, PORTABLE);
  const calls = (some: readonly KernelCall[]): string =>
    some.map((call) => `  ${callText(call, (kernel) => table.nameOf(kernel))}\n`).join('');
  const uses = (arena: Place['arena'], { prologue, calls: some }: PlannedFunction): boolean =>
    [...prologue, ...some].some(({ places }) => places.some((place) => place.arena === arena));
  const used = (some: PlannedFunction, ...names: Place['arena'][]): string =>
    names
      .filter((name) => !uses(name, some))
      .map((name) => `  (void)${ARGUMENTS[name] ?? name};\n`)
      .join('');
  const functions = `
void ${prefix}_init(${prefix}_state *s, float *const params[]) {
${used({ ...init, prologue: update.prologue }, 'parameter')}  memset(s, 0, sizeof *s);
${calls(update.prologue)}${calls(init.calls)}}

void ${prefix}_update(float *const params[], float *const gradients[], ${prefix}_state *s, int32_t t, float loss) {
${used({ ...update, prologue: [] }, 'parameter', 'gradient', 't', 'loss')}${calls(update.calls)}}
`;
  const numbered = [init, update].some((part) => uses('theta', part)) ? [dataText('ol_theta', theta)] : [];
  return {
    source: [
      portableHead(kernels),
      ...numbered,
      ...tables.map((each, i) => dataText(`ol_table_${i}`, tableData(each))),
      kernels,
      functions,
    ].join('\n'),
    numbers: {
      state: numbersOf(state.bytes),
      constants: numbersOf(Math.max(init.windowBytes, update.windowBytes)),
      scratch: numbersOf(Math.max(init.scratchBytes, update.scratchBytes)),
    },
    stack: Math.max(...table.entries.map(({ kernel }) => localBytes(kernel)), 0),
  };
}

/** How arguments are called that are not named as their arena. */
const ARGUMENTS: Partial<Record<Place['arena'], string>> = { parameter: 'params', gradient: 'gradients' };

function baseText(place: Place): string {
  switch (place.arena) {
    case 'theta':
      return 'ol_theta';
    case 'table':
      return `ol_table_${place.table}`;
    case 'parameter':
      return `params[${place.tensor}]`;
    case 'gradient':
      return `gradients[${place.tensor}]`;
    case 'state':
      return 's->state';
    case 'window':
      return 's->constants';
    case 'scratch':
      return 's->scratch';
    case 't':
    case 'loss':
      return `&${place.arena}`;
    case 'result':
    case 'next':
    case 'tape':
    case 'cotangent':
      throw new Error(`an optimizer by itself has no ${place.arena}; this is a defect of the planner.`);
  }
}

function callText({ kernel, places, origin }: KernelCall, nameOf: NameOf): string {
  const texts = places.map((place, i) => {
    const constant = kernel.buffers[i].written ? '' : 'const ';
    const base = baseText(place);
    const offset = offsetText(place);
    return `(${constant}void *)${offset === '0' ? base : `((${constant}char *)${base} + ${offset})`}`;
  });
  return `/* ${origin.replaceAll('*/', '* /').replaceAll('\n', ' ')} */\n  ${nameOf(kernel)}(${texts.join(', ')});`;
}
