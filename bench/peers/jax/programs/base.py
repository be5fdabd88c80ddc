"""What the programs share: keyed pair noise, minibatch rows, timing, and the rule by which losses are compared."""

import time

import jax
import jax.numpy as jnp
import numpy as np


def pair_noise(key, particles, size):
    """N(0, 1) for each of particles/2 antithetic pairs, with the sign of each partner: [particles, size]."""
    noise = jax.random.normal(key, (particles // 2, size))
    return jnp.stack([noise, -noise], axis=1).reshape(particles, size)


def rows_of(key, t, which, count, low, high):
    """`count` row indices in [low, high), the same for both partners of a pair. `which`: 0 training, 1 validation."""
    return jax.random.randint(jax.random.fold_in(jax.random.fold_in(key, t), which), (count,), low, high)


def pair_keys(seed, particles):
    """One key a particle; partners share theirs."""
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(particles) // 2)


def deviation(got, expected):
    """Largest deviation relative to the size of each loss."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return float(np.max(np.abs(got - expected) / np.abs(expected)))


class WindowProgram:
    """
    A jitted window of all particles, advanced round by round. Subclasses set `self.window(state, t0, key) -> (state,
    losses)`, `self.state` and `self.horizon`; the state's buffers are donated.
    """

    repeats = 1

    def compile(self):
        self.t, self.round_number = 0, 0
        arguments = (self.state, jnp.int32(0), jax.random.key(0))
        start = time.perf_counter()
        self.compiled = jax.jit(self.window, donate_argnums=0).lower(*arguments).compile()
        return time.perf_counter() - start

    def round(self):
        """Seconds of one round, from the call until the losses and the state are there."""
        key = jax.random.fold_in(jax.random.key(1), self.round_number)
        start = time.perf_counter()
        self.state, losses = self.compiled(self.state, jnp.int32(self.t), key)
        jax.block_until_ready((self.state, losses))
        seconds = time.perf_counter() - start
        if not np.all(np.isfinite(np.asarray(losses))):
            raise ValueError('a loss is NaN or infinite')
        self.round_number += 1
        self.t = (self.t + self.steps) % self.horizon
        return seconds
