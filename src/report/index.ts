export { curvesPicture, reportCharts, type Chart } from './charts';
export { beforeAfterRows, change, formatMeasurement, formatNumber, renderReport } from './html';
export { thetaAfter, thetaBefore, type ReportedTheta, type RunReport } from './run-report';
