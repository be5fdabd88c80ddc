export * from '../../src/conformance/run-problem';
