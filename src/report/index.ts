export { curvesPicture, reportCharts, type Chart } from './charts';
export {
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
export { beforeAfterRows, change, formatMeasurement, renderReport } from './html';
export { escapeHtml, figures, formatNumber, page, table } from './page';
export { thetaAfter, thetaBefore, type ReportedTheta, type RunReport } from './run-report';
