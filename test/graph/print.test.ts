import { GraphBuilder } from '../../src/graph/builder';
import { printGraph } from '../../src/graph/print';

test('shows what distinguishes nodes: operands, attributes, types, the sign of a zero, a draw’s key', () => {
  const b = new GraphBuilder('step');
  const w = b.input('state.w', { shape: [2, 3], dtype: 'float32' });
  const t = b.input('t', { shape: [], dtype: 'int32' });
  const noise = b.emit('random', [], {
    stream: 'user',
    perStep: true,
    path: [1, 2],
    distribution: { name: 'normal' },
    shape: [2, 3],
  });
  const rows = b.emit('random', [], {
    stream: 'batch',
    perStep: false,
    path: [],
    distribution: { name: 'integer', low: 0, high: 4 },
    shape: [2],
  });
  const table = b.table({ name: 'digits', values: new Uint8Array(12), dtype: 'uint8', rows: 4, rowShape: [3] });
  const xs = b.cast(b.op('gather', table, rows), 'float32');
  const sum = b.binary('add', b.op('add', w, noise), b.constant(Float32Array.of(-0), [], 'float32'));
  const product = b.emit('matmul', [sum, xs], { transposeA: false, transposeB: true });
  const long = b.constant(
    Int32Array.from({ length: 10 }, (_, i) => i),
    [10],
    'int32',
  );
  const part = b.emit('slice', [long], { begin: [1], size: [2], strides: [3] });
  const graph = b.finish([b.reduceSum(product, [0, 1]), part, t]);
  expect(printGraph(graph)).toMatchInlineSnapshot(`
    "step(%0 state.w: float32[2,3], %1 t: int32[]) {
      %2 = random normal user/t/1/2 : float32[2,3]
      %3 = random integer[0,4) batch/ : int32[2]
      %4 = table digits : uint8[4,3]
      %5 = gather(%4, %3) : uint8[2,3]
      %6 = cast(%5) : float32[2,3]
      %7 = add(%0, %2) : float32[2,3]
      %8 = constant -0 : float32[]
      %9 = broadcast(%8) : float32[2,3]
      %10 = add(%7, %9) : float32[2,3]
      %11 = matmul(%10, %6) transposeA=false transposeB=true : float32[2,2]
      %12 = constant [0, 1, 2, 3, 4, 5, 6, 7, … 2 more] : int32[10]
      %13 = slice(%12) begin=[1] size=[2] strides=[3] : int32[2]
      %14 = reduceSum(%11) axes=[0,1] : float32[]
      return %14, %13, %1
    }"
  `);
});
