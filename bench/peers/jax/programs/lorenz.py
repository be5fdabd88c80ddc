"""Fitting two constants of a Lorenz system (Li et al. 2023, §5.1); the true trajectory is state of its own, as in ours."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from .base import WindowProgram, deviation, pair_noise

DT, START, THETA, SIGMA = 0.005, (1.2, 1.3, 1.6), (3.116, 3.7), 0.04


def euler(position, a, r):
    x, y, z = position
    return x + DT * (a * (y - x)), y + DT * (x * (r - z) - y), z + DT * (x * y - (8 / 3) * z)


def unroll(theta, state, steps):
    """State and losses [steps] of one particle."""
    a, r = jnp.exp(theta[0]), jnp.exp(theta[1])

    def body(carry, _):
        position, target = carry
        position, target = euler(position, a, r), euler(target, 10.0, 28.0)
        return (position, target), (position[2] - target[2]) ** 2

    return jax.lax.scan(body, state, None, length=steps)


def fresh(shape):
    position = tuple(jnp.full(shape, value) for value in START)
    return (position, tuple(leaf + 0 for leaf in position))


class Lorenz(WindowProgram):
    horizon = 2000

    def __init__(self, particles, window, windows=1):
        self.particles, self.steps, self.windows = particles, window, windows
        self.state = fresh((particles,))

        def window_of(particles):
            def window(state, t0, key):
                # The episode's end puts all particles back to the start, as ours are reset.
                state = jax.tree.map(lambda leaf, first: jnp.where(t0 == 0, first, leaf), state, fresh((particles,)))
                thetas = jnp.asarray(THETA) + SIGMA * pair_noise(key, particles, 2)

                def one(theta, state):
                    state, losses = unroll(theta, state, window_steps)
                    return state, jnp.sum(losses)

                return jax.vmap(one)(thetas, state)

            window_steps = self.steps
            return window

        self.window_of = window_of
        self.window = window_of(particles)

    def round(self):
        return sum(super(Lorenz, self).round() for _ in range(self.windows))

    def check(self):
        key = jax.random.key(9)
        _, losses = jax.jit(self.window_of(8))(fresh((8,)), 0, key)
        thetas = np.asarray(THETA) + SIGMA * np.asarray(pair_noise(key, 8, 2), np.float64)
        expected = []
        for theta in thetas:
            mine, target, total = START, START, 0.0
            for _ in range(self.steps):
                mine, target = euler(mine, *np.exp(theta)), euler(target, 10.0, 28.0)
                total += (mine[2] - target[2]) ** 2
            expected.append(total)
        return deviation(losses, expected)


class LorenzOuter:
    """
    Whole outer iterations by NRES, step-unlocked, SGD at 1e-5: `scan` iterations in one jitted scan; with `scan` = 1, a
    jitted call an iteration. A pair keeps its noise for an episode and draws anew at its end.

    `released`: computes what the code released with the paper computes: inner step by inner step, each with keys and a
    fresh noise for every pair and a reset of whoever has ended. Else whole windows, with noise and reset once a window.
    """

    horizon, rate = 2000, 1e-5

    def __init__(self, pairs=200, window=100, scan=100, released=False):
        self.scan = scan
        windows = self.horizon // window

        def iteration(carry, _):
            theta, key, noise, age, plus, minus = carry
            # Whoever's episode has ended starts over with new noise.
            key, draw = jax.random.split(key)
            ended = age == windows
            noise = jnp.where(ended[:, None], SIGMA * jax.random.normal(draw, noise.shape), noise)
            age = jnp.where(ended, 0, age)
            reset = lambda leaf, first: jnp.where(ended, first, leaf)
            plus = jax.tree.map(reset, plus, fresh(ended.shape))
            minus = jax.tree.map(reset, minus, fresh(ended.shape))

            def one(theta, state):
                state, losses = unroll(theta, state, window)
                return state, jnp.sum(losses)

            plus, up = jax.vmap(one)(theta + noise, plus)
            minus, down = jax.vmap(one)(theta - noise, minus)
            gradient = jnp.mean((up - down)[:, None] * noise, axis=0) / (2 * SIGMA**2 * window)
            return (theta - self.rate * gradient, key, noise, age + 1, plus, minus), jnp.mean(up + down) / (2 * window)

        def stepwise_iteration(carry, _):
            theta, key, noise, age, plus, minus = carry

            def inner(carry, key):
                noise, t, plus, minus, gradient, total = carry
                key, draw = jax.random.split(key)
                # One key a pair and a use: neither this problem's step nor its loss draws from them.
                jax.vmap(lambda k: jax.random.split(k, 3))(jax.random.split(key, pairs))

                def one(theta, state):
                    state, losses = unroll(theta, state, 1)
                    return state, losses[0]

                plus, up = jax.vmap(one)(theta + noise, plus)
                minus, down = jax.vmap(one)(theta - noise, minus)
                gradient = gradient + jnp.sum((up - down)[:, None] * noise, axis=0) / (2 * SIGMA**2)
                ended = t + 1 >= self.horizon
                reset = lambda leaf, first: jnp.where(ended, first, leaf)
                plus = jax.tree.map(reset, plus, fresh(ended.shape))
                minus = jax.tree.map(reset, minus, fresh(ended.shape))
                drawn = jax.vmap(lambda k: SIGMA * jax.random.normal(k, (2,)))(jax.random.split(draw, pairs))
                noise = jnp.where(ended[:, None], drawn, noise)
                return (noise, jnp.where(ended, 0, t + 1), plus, minus, gradient, total + jnp.sum(up + down)), None

            key, draw = jax.random.split(key)
            first = (noise, age * window, plus, minus, jnp.zeros(2), jnp.float32(0))
            (noise, t, plus, minus, gradient, total), _ = jax.lax.scan(inner, first, jax.random.split(draw, window))
            theta = theta - self.rate * gradient / (pairs * window)
            return (theta, key, noise, t // window, plus, minus), total / (2 * pairs * window)

        if released:
            iteration = stepwise_iteration
        self.iteration = iteration

        def many(carry):
            return jax.lax.scan(iteration, carry, None, length=scan)

        def burn_in(theta, noise, age):
            """Runs every pair to its offset at theta_0 with its noise, as step-unlocked workers start."""

            def one(theta, age):
                def body(k, state):
                    state, _ = jax.lax.cond(k < age, lambda s: unroll(theta, s, window), lambda s: (s, jnp.zeros(window)), state)
                    return state

                return jax.lax.fori_loop(0, windows, body, fresh(()))

            return jax.vmap(one)(theta + noise, age), jax.vmap(one)(theta - noise, age)

        theta = jnp.asarray(THETA)
        noise = SIGMA * jax.random.normal(jax.random.key(4), (pairs, 2))
        age = jnp.arange(pairs) % windows
        plus, minus = jax.jit(burn_in)(theta, noise, age)
        self.first = self.carry = (theta, jax.random.key(5), noise, age, plus, minus)
        self.many, self.window_steps = many, window

    def compile(self):
        start = time.perf_counter()
        self.compiled = jax.jit(self.many).lower(self.carry).compile()
        return time.perf_counter() - start

    def check(self):
        """The gradient of one iteration against a float64 loop in numpy."""
        theta, _, noise, age, plus, minus = self.first
        (after, *_), _ = jax.jit(self.iteration)(self.first, None)
        total = np.zeros(2)
        leaves = lambda state, i: [tuple(float(leaf[i]) for leaf in half) for half in state]
        for i in range(noise.shape[0]):
            own, losses = np.asarray(noise[i], np.float64), []
            for sign, states in ((1, plus), (-1, minus)):
                mine, target = leaves(states, i)
                loss = 0.0
                for _ in range(self.window_steps):
                    mine = euler(mine, *np.exp(np.asarray(THETA) + sign * own))
                    target = euler(target, 10.0, 28.0)
                    loss += (mine[2] - target[2]) ** 2
                losses.append(loss)
            total += (losses[0] - losses[1]) * own
        gradient = total / noise.shape[0] / (2 * SIGMA**2 * self.window_steps)
        # Through the update; theta is of order 1 and the gradient of order 1e3, so that 1e-5 of it shows.
        moved = (np.asarray(theta, np.float64) - np.asarray(after, np.float64)) / self.rate
        return float(np.max(np.abs(moved - gradient)) / np.max(np.abs(gradient)))

    def round(self):
        """Seconds of `scan` iterations, or of 50 calls of one."""
        calls = 50 if self.scan == 1 else 1
        start = time.perf_counter()
        for _ in range(calls):
            self.carry, losses = self.compiled(self.carry)
            jax.block_until_ready(self.carry[0])
        seconds = time.perf_counter() - start
        if not np.all(np.isfinite(np.asarray(losses))):
            raise ValueError('a loss is NaN or infinite')
        return seconds / (calls * self.scan)
