"""
Truncated backpropagation through time of the same scans: jax.grad of the mean loss over the window and over the
particles, all at one theta; the state that a window starts from is held fixed.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .base import deviation, pair_keys
from .lopt import SHAPES, Lopt
from .mnist import Mnist

RATES = 200


class Tbptt:
    """
    To be put before a program of windows among the bases. `self.theta`, `self.step(theta, key, state, t) -> (state, loss)`, `self.state` and
    `self.numpy_losses(theta, p, steps)` are the program's. `checkpointed`: of each step only the state before it is
    kept, and the step is run again on the way back.
    """

    def start_gradients(self, particles, window, checkpointed):
        # Whoever differentiates has no antithetic pairs: each particle draws its own minibatches.
        self.keys = pair_keys(3, 2 * particles)[::2]
        self.checkpointed = checkpointed
        # Handed in, not a constant: theta moves from window to window.
        self.state = (jnp.asarray(self.theta, jnp.float32), self.state)
        self.window = self.gradient_of(window, self.keys)

    def gradient_of(self, steps, keys):
        def window(state, t0, _):
            def one(theta, key, state):
                def body(carry, i):
                    return self.step(theta, key, carry, t0 + i)

                return jax.lax.scan(jax.checkpoint(body) if self.checkpointed else body, state, jnp.arange(steps))

            def loss(theta, state):
                state, losses = jax.vmap(one, in_axes=(None, 0, 0))(theta, keys, state)
                return jnp.mean(losses), state

            theta, inner = state
            (value, inner), gradient = jax.value_and_grad(loss, has_aux=True)(theta, inner)
            return (theta, inner), jnp.append(value, gradient)

        return window

    def check(self, steps=3):
        """
        Loss and gradient of two particles: the loss against a float64 loop in numpy, the gradient against central
        differences of that loop along itself leaf by leaf, and along random directions; relative to its norm.
        """
        theta, inner = self.state
        inner = jax.tree.map(lambda leaf: leaf[:2], inner)
        _, got = jax.jit(self.gradient_of(steps, self.keys[:2]))((theta, inner), 0, None)
        theta, value, gradient = np.asarray(theta, np.float64), got[0], np.asarray(got[1:], np.float64)
        norm = np.linalg.norm(gradient)
        with_theta, self.state = self.state, self.state[1]

        def mean_loss(at):
            return np.mean([self.numpy_losses(at, p, steps) for p in range(2)])

        def difference(direction, step=1e-5):
            return (mean_loss(theta + step * direction) - mean_loss(theta - step * direction)) / (2 * step)

        try:
            worst = deviation(value, mean_loss(theta))
            for direction in self.directions(gradient):
                direction = direction / np.linalg.norm(direction)
                worst = max(worst, abs(gradient @ direction - difference(direction)) / norm)
        finally:
            self.state = with_theta
        return float(worst)


class MnistTbptt(Tbptt, Mnist):
    """The logarithm of the learning rate of each of 200 steps is theta."""

    horizon = RATES

    def __init__(self, particles, window, data, checkpointed=False):
        super().__init__(particles, window, data)
        self.theta = np.full(RATES, np.log(0.01))
        self.start_gradients(particles, window, checkpointed)

    def rate(self, theta, t, xp):
        return xp.exp(theta[t])

    def directions(self, _, steps=3):
        # What later steps would use has no part in the check's window, which random directions show.
        return [*np.eye(RATES)[:steps], *np.random.default_rng(0).standard_normal((3, RATES))]


class LoptTbptt(Tbptt, Lopt):
    def __init__(self, particles, window, checkpointed=False, data=None):
        super().__init__(particles, window, data)
        self.start_gradients(particles, window, checkpointed)

    def directions(self, gradient):
        bounds = np.cumsum([0, *(int(np.prod(shape)) for shape in SHAPES)])
        leaf = np.searchsorted(bounds, np.arange(gradient.size), side='right') - 1
        own = [np.where(leaf == i, gradient, 0) for i in range(len(SHAPES))]
        return [*own, *np.random.default_rng(0).standard_normal((3, gradient.size))]
