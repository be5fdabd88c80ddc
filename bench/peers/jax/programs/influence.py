"""Influence balancing (Vicol et al. 2021, §5.1): windows of one step under fresh noise, `repeats` of them in one scan."""

import jax
import jax.numpy as jnp
import numpy as np

from .base import WindowProgram, deviation, pair_noise

SIZE, POSITIVE, SIGMA, THETA = 23, 10, 0.1, 0.5
SIGN = np.asarray([1.0] * POSITIVE + [-1.0] * (SIZE - POSITIVE))
MATRIX = 0.5 * (np.eye(SIZE) + np.eye(SIZE, k=1))


class Influence(WindowProgram):
    horizon = 2**30

    def __init__(self, particles, window=1, repeats=300, dense=True):
        assert window == 1
        self.particles, self.steps, self.repeats = particles, repeats, repeats
        self.state = jnp.ones((particles, SIZE))
        matrix, sign = jnp.asarray(MATRIX, jnp.float32), jnp.asarray(SIGN, jnp.float32)

        def step(theta, s):
            if dense:
                s = matrix @ s + theta * sign
            else:
                s = 0.5 * (s + jnp.pad(s[1:], (0, 1))) + theta * sign
            return s, 0.5 * (s[0] - 1) ** 2

        def window(state, t0, key):
            particles = state.shape[0]

            def body(state, i):
                thetas = THETA + SIGMA * pair_noise(jax.random.fold_in(key, i), particles, 1)[:, 0]
                return jax.vmap(step)(thetas, state)

            return jax.lax.scan(body, state, t0 + jnp.arange(repeats))

        self.window = window

    def check(self):
        key = jax.random.key(9)
        _, losses = jax.jit(self.window)(jnp.ones((8, SIZE)), 0, key)
        s, expected = np.ones((8, SIZE)), []
        for i in range(self.repeats):
            noise = np.asarray(pair_noise(jax.random.fold_in(key, i), 8, 1), np.float64)
            s = s @ MATRIX.T + (THETA + SIGMA * noise) * SIGN
            expected.append(0.5 * (s[:, 0] - 1) ** 2)
        return deviation(np.sum(losses, axis=0), np.sum(expected, axis=0))
