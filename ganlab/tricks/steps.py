from ganlab.core.errors import require
from ganlab.core.validation import TwoOrMore, Whole
from ganlab.tricks.base import Capability, Player, Trick


class Burst:
    """A different number of discriminator updates, `n`, before some updates of the generator.

    There is a burst before each of the first `first` updates of the generator, and before every `every`-th
    update. The code of Li et al. 2017 has n = 100, first = 25 and every = 500. The generator's updates are
    counted from zero, so training starts with a burst even with `first` = 0.
    """

    def __init__(self, n: TwoOrMore, first: Whole, every: TwoOrMore):
        self.n, self.first, self.every = n, first, every

    def covers(self, update: int) -> bool:
        """Whether a burst precedes this update of the generator, counted from zero."""
        return update < self.first or update % self.every == 0


class CriticSteps(Trick):
    """The generator is updated once after every n updates of the discriminator (Goodfellow et al. 2014).

    n is the k of their algorithm 1; Arjovsky, Chintala & Bottou 2017 have n = 5. The discriminator is updated
    in each step, on a new batch, and the generator in each n-th step. So a run of `steps` steps has steps / n
    updates of the generator.

    burst: a different number of discriminator updates before some of the generator's updates; null: none.
    """

    needs = frozenset({Capability.DISCRIMINATOR})
    claims = frozenset({Capability.MOVE_CONTROL})

    def __init__(self, n: TwoOrMore, burst: Burst | None):
        super().__init__()
        has_effect = burst is None or burst.n != n
        remedy = "set a different number, or burst=null"
        require(has_effect, f"has no effect together with n={n}", remedy, ".burst.n", n)
        self.n, self.burst = n, burst
        # The steps in which the generator is updated, as far as they were computed.
        self.generator_steps: set[int] = set()
        self.last_generator_step = -1

    def may_move(self, player: Player, step: int) -> bool:
        # Extends `generator_steps` up to this step.
        while self.last_generator_step < step:
            update = len(self.generator_steps)  # the number of the generator's next update, from zero
            self.last_generator_step += self.burst.n if self.burst and self.burst.covers(update) else self.n
            self.generator_steps.add(self.last_generator_step)
        return player == "discriminator" or step in self.generator_steps


class GeneratorSteps(Trick):
    """The discriminator is updated once before every k updates of the generator (Salimans et al. 2016, code).

    Their code has k = 3 for a discriminator with minibatch discrimination; the code of PacGAN has k = 2. Each
    update of the generator has new latents.
    """

    needs = frozenset({Capability.DISCRIMINATOR})
    claims = frozenset({Capability.MOVE_CONTROL})

    def __init__(self, k: TwoOrMore):
        super().__init__()
        self.k = k

    def may_move(self, player: Player, step: int) -> bool:
        return player != "discriminator" or step % self.k == 0
