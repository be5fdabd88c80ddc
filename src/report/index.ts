export { curvesPicture, reportCharts, type Chart } from './charts';
export {
  checkSameTheta,
  comparisonNotes,
  comparisonTable,
  compareRuns,
  objectiveKey,
  seedOf,
  summarise,
  type ComparedRun,
  type Comparison,
  type GroupSummary,
  type RunGroup,
} from './comparison';
export { renderComparison } from './comparison-page';
export { beforeAfterRows, bestLine, change, formatMeasurement, renderReport } from './html';
export { metaTestNotes, metaTestTable, trialLines, trialsCsv, type TrialLine } from './meta-test';
export { metaTestCharts, metaTestPicture, metaTestStepSizes, renderMetaTest } from './meta-test-page';
export { escapeHtml, figures, formatNumber, page, table } from './page';
export { thetaAfter, thetaBefore, type ReportedTheta, type RunReport } from './run-report';
export { sigmaLine, sigmaTable } from './sigma';
export { runStepSizes, stepSizesCsv } from './step-sizes';
export {
  formatCoordinate,
  leastPoint,
  surfaceJson,
  surfaceNotes,
  surfaceTable,
  type Surface,
  type SurfaceAxis,
  type SurfacePath,
  type SurfacePoint,
} from './surface';
export { renderSurface, surfaceChart } from './surface-page';
export { isLearned, updateMap, updateMapCsv, type UpdateMap } from './update-map';
export {
  placeText,
  renderVariance,
  varianceNotes,
  varianceTable,
  type VarianceAt,
  type VarianceReport,
  type VarianceRow,
} from './variance';
