export { chooseMode, LANE_MAJOR_LIMITS, laneMajorCost, type LaneMajorCost, type Mode } from './cost';
export { lowerLaneMajor, vectorsInFlight, type LaneMajorOptions } from './program';
export { laneBackProblem } from './reverse';
export { lowerRows, type RowsOptions } from './rows';
export { isContraction, rowRoles, rowsEligible, type Role } from './slice';
