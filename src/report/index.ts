export { reportCharts, type Chart } from './charts';
export { beforeAfterRows, formatMeasurement, formatNumber, renderReport } from './html';
export type { MetricsLine, ReportedTheta, RunReport } from './run-report';
