"""Dynamics of games near their equilibrium, on the Dirac-GAN (Mescheder et al. 2018)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.dirac_gan import LR, START, radii, trajectory
from support.logit_costs import ONES

from ganlab.objectives.adversarial import Minimax, NonSaturating, Wasserstein
from ganlab.training.play import Alternating, Extragradient, Simultaneous
from ganlab.tricks.r1 import R1

START_RADIUS = math.hypot(*START)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# The generator's step divided by psi, for u = theta psi: minus the derivative of its loss in the logit.
PULL = {"minimax": sigmoid, "non_saturating": lambda u: sigmoid(-u), "wasserstein": lambda u: 1.0}
# The discriminator's step divided by theta: minus the derivative of its loss in the logit of the fake.
PUSH = {"minimax": sigmoid, "non_saturating": sigmoid, "wasserstein": lambda u: 1.0}
OBJECTIVES = {"minimax": Minimax, "non_saturating": NonSaturating, "wasserstein": Wasserstein}


def recurrence(name: str, *, alternating: bool, gamma: float, steps: int) -> tuple[float, float]:
    """(theta, psi) after `steps` steps of gradient descent, with R1 of weight gamma."""
    theta, psi = START
    for _ in range(steps):
        next_psi = psi - LR * (PUSH[name](theta * psi) * theta + gamma * psi)
        seen_psi = next_psi if alternating else psi  # the discriminator that the generator sees
        theta, psi = theta + LR * PULL[name](theta * seen_psi) * seen_psi, next_psi
    return theta, psi


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("play", [Alternating, Simultaneous])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_a_play_is_the_recurrence(name: str, play, gamma: float) -> None:
    tricks = {"r1": R1(gamma, 1)} if gamma else {}
    *_, last = trajectory(OBJECTIVES[name](ONES), play(), 100, tricks)
    expected = recurrence(name, alternating=play is Alternating, gamma=gamma, steps=100)
    assert last == pytest.approx(expected, abs=1e-9)


def test_wasserstein_conserves_its_orbit_in_alternating_play() -> None:
    """theta^2 + psi^2 - h theta psi is exactly constant, for the learning rate h: the orbit is an ellipse."""
    points = trajectory(Wasserstein(ONES), Alternating(), 300)
    constant = [theta**2 + psi**2 - LR * theta * psi for theta, psi in points]
    assert constant == pytest.approx([2 - LR] * len(points))


def test_wasserstein_spirals_out_in_simultaneous_play() -> None:
    """Each step multiplies the squared radius by 1 + h^2, for the learning rate h."""
    distances = radii(trajectory(Wasserstein(ONES), Simultaneous(), 100))
    assert distances == pytest.approx([START_RADIUS * (1 + LR**2) ** (n / 2) for n in range(101)])


def test_wasserstein_spirals_in_under_extragradient() -> None:
    """w <- (1 + h A + h^2 A^2) w with A^2 = -1; each step multiplies the squared radius by 1 - h^2 + h^4.

    w is (theta, psi), and h is the learning rate.
    """
    rotation = np.array([[0, 1], [-1, 0]])  # A
    one_step = np.eye(2) + LR * rotation + LR**2 * rotation @ rotation
    points = trajectory(Wasserstein(ONES), Extragradient(), 200)
    for n in (1, 2, 50, 200):
        assert points[n] == pytest.approx(np.linalg.matrix_power(one_step, n) @ START, abs=1e-12)
    assert radii(points) == pytest.approx([START_RADIUS * (1 - LR**2 + LR**4) ** (n / 2) for n in range(201)])


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_extragradient_is_the_recurrence(name: str, gamma: float) -> None:
    """The implicit step w' = w + h v(w'), to second order: v is evaluated at w + h v(w)."""

    def velocity(w: np.ndarray) -> np.ndarray:
        theta, psi = w
        u = theta * psi
        return np.array([PULL[name](u) * psi, -PUSH[name](u) * theta - gamma * psi])

    w = np.array(START)
    for _ in range(100):
        w = w + LR * velocity(w + LR * velocity(w))
    tricks = {"r1": R1(gamma, 1)} if gamma else {}
    assert trajectory(OBJECTIVES[name](ONES), Extragradient(), 100, tricks)[-1] == pytest.approx(w, abs=1e-9)


def test_minimax_orbits_in_alternating_play_and_spirals_out_in_simultaneous_play() -> None:
    alternating = radii(trajectory(Minimax(ONES), Alternating(), 800))
    assert min(alternating) > 1.35
    assert max(alternating) < 1.45
    simultaneous = radii(trajectory(Minimax(ONES), Simultaneous(), 800))
    assert simultaneous[-1] > 1.5 * START_RADIUS


def test_non_saturating_converges_slowly() -> None:
    distances = radii(trajectory(NonSaturating(ONES), Alternating(), 800))
    assert max(distances) < 1.05 * START_RADIUS
    assert distances[200] > distances[400] > distances[800] > 0.2  # 1.41, then 0.58, 0.43, 0.31
    assert distances[800] > 0.7 * distances[400]


def test_r1_converges_fast() -> None:
    """Near the equilibrium, each step multiplies both weights by the largest eigenvalue of the game."""
    gamma = 1.0
    distances = radii(trajectory(NonSaturating(ONES), Alternating(), 300, {"r1": R1(gamma, 1)}))
    assert distances[-1] < 1e-4
    discriminator_moves = np.array([[1, 0], [-LR / 2, 1 - LR * gamma]])
    generator_moves = np.array([[1, LR / 2], [0, 1]])
    rate = max(abs(np.linalg.eigvals(generator_moves @ discriminator_moves)))
    assert (distances[300] / distances[200]) ** (1 / 100) == pytest.approx(rate, abs=1e-3)
