/** What every registered thing must hold to: `outerloop check` runs it on plugins, the tests on what is built in. */
export { checkAll, type CheckOptions, type Named, type Outcome } from './check';
export { DATASET_PROPERTIES } from './datasets';
export { BIAS_PROPERTIES, ESTIMATOR_PROPERTIES, type EstimatorSubject } from './estimators';
export { configMakesItAgain, extremeGradients, OPTIMIZER_PROPERTIES, trainingBy } from './optimizers';
export { OUTER_OPTIMIZER_PROPERTIES } from './outer-optimizers';
export { PROBLEM_PROPERTIES } from './problems';
export { PropertyError, type Make, type Property } from './property';
export { REGISTRATION_PROPERTIES } from './registration';
export { batchOf, parametersOf, stateOf, TASK_PROPERTIES, trainingOf } from './tasks';
