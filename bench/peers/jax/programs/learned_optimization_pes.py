"""
Meta-training steps of google/learned_optimization itself: TruncatedPES on its per-parameter MLP and its MLP task 64-32-10 at
batch 128, as its notebooks put them together. Its own data sets come over the network; noise of their shape costs the same.
Its meta-loss is that of the training batch before the update, which spares it the second forward pass of a step.
"""

import itertools
import time

import jax
import numpy as np

from .base import deviation

BATCH, INPUTS, HIDDEN, CLASSES = 128, (8, 8, 1), 32, 10


def noise_batches(count=64):
    draw = np.random.default_rng(0)
    batches = [
        {
            'image': draw.random((BATCH, *INPUTS), np.float32),
            'label': draw.integers(0, CLASSES, BATCH).astype(np.int32),
        }
        for _ in range(count)
    ]
    return itertools.cycle(batches)


class LearnedOptimizationPes:
    def __init__(self, tasks=16, window=10, horizon=1000, iterations=10, rate=3e-4):
        # Only this program needs the package and what it needs in turn.
        from learned_optimization.learned_optimizers import mlp_lopt
        from learned_optimization.optimizers import base as optimizers
        from learned_optimization.outer_trainers import gradient_learner, lopt_truncated_step, truncated_pes
        from learned_optimization.outer_trainers import truncation_schedule
        from learned_optimization.tasks import base
        from learned_optimization.tasks.datasets import base as datasets
        from learned_optimization.tasks.fixed import image_mlp

        self.iterations = iterations
        shape = {key: jax.ShapeDtypeStruct(value.shape, value.dtype) for key, value in next(noise_batches(1)).items()}
        splits = [noise_batches() for _ in range(4)]
        data = datasets.Datasets(*splits, extra_info={'num_classes': CLASSES}, abstract_batch=shape)
        self.task = image_mlp._MLPImageTask(data, [HIDDEN])
        optimizer = mlp_lopt.MLPLOpt()
        steps = lopt_truncated_step.VectorizedLOptTruncatedStep(
            base.single_task_to_family(self.task),
            optimizer,
            truncation_schedule.ConstantTruncationSchedule(horizon),
            num_tasks=tasks,
            random_initial_iteration_offset=horizon,
        )
        estimator = truncated_pes.TruncatedPES(steps, trunc_length=window, std=0.01, steps_per_jit=window)
        self.learner = gradient_learner.SingleMachineGradientLearner(optimizer, [estimator], optimizers.Adam(rate))
        self.key = jax.random.PRNGKey(0)

    def check(self):
        """The task's loss at fresh parameters, against numpy in float64."""
        batch = next(noise_batches(1))
        params = self.task.init(self.key)
        got = self.task.loss(params, self.key, batch)
        x = batch['image'].reshape(BATCH, -1).astype(np.float64)
        layers = [{name: np.asarray(leaf, np.float64) for name, leaf in layer.items()} for layer in params.values()]
        for i, layer in enumerate(layers):
            x = x @ layer['w'] + layer['b']
            if i + 1 < len(layers):
                x = np.maximum(x, 0)
        x = x - x.max(axis=1, keepdims=True)
        expected = -np.mean(x[np.arange(BATCH), batch['label']] - np.log(np.exp(x).sum(axis=1)))
        return deviation([got], [expected])

    def compile(self):
        start = time.perf_counter()
        self.state = self.learner.init(self.key)
        self.iterate(1)
        return time.perf_counter() - start

    def iterate(self, count):
        for _ in range(count):
            self.key, key = jax.random.split(self.key)
            self.state, loss, _ = self.learner.update(self.state, key)
        if not np.isfinite(np.asarray(jax.block_until_ready(loss))):
            raise ValueError('a loss is NaN or infinite')

    def round(self):
        """Seconds of an outer iteration."""
        start = time.perf_counter()
        self.iterate(self.iterations)
        return (time.perf_counter() - start) / self.iterations
