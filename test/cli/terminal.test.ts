import { beforeAfterTable, plotCurves, resample } from '../../src/cli/terminal';

const plain = { colour: false };

test('resampling interpolates between the ends', () => {
  expect(resample({ t: [0, 10], value: [0, 1] }, 5)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  expect(resample({ t: [0, 1, 10], value: [5, 5, 14] }, 3)).toEqual([5, 9, 14]);
  expect(resample({ t: [3], value: [2] }, 3)).toEqual([2, 2, 2]);
});

test('the table has a row a number and no escape codes without colour', () => {
  const table = beforeAfterTable(
    { description: { values: { 'learningRate.initial': 0.003 } } },
    { description: { values: { 'learningRate.initial': 0.12345 } } },
    plain,
  );
  expect(table).toMatch(/learningRate\.initial +│ 0\.003 +│ 0\.1235/);
  expect(table).not.toContain('\u001b');
});

test('a curve over decades is drawn on a logarithmic axis, its ends on the outer rows', () => {
  const plot = plotCurves('rate', { t: [0, 100], value: [1, 1e-4] }, undefined, plain)!;
  expect(plot.split('\n')[0]).toBe('rate (inner steps 0 to 100, logarithmic)  before');
  const labels = plot
    .split('\n')
    .slice(1)
    .map((row) => Number.parseFloat(row));
  expect(labels[0]).toBe(1);
  expect(plot).not.toContain('\u001b');
});

test('nothing finite, no plot', () => {
  expect(plotCurves('x', { t: [0, 1], value: [NaN, NaN] }, { t: [], value: [] }, plain)).toBeUndefined();
});
