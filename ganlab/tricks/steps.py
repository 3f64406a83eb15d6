from bisect import bisect_right

from ganlab.core.errors import ConfigError
from ganlab.core.turn import Capability, Player
from ganlab.core.validation import TwoOrMore, Whole
from ganlab.tricks.base import Trick


class Burst:
    """`n` moves of the discriminator for the generator's first `first` moves and for each `every`-th.

    100, 25 and 500 in the code of Li et al. 2017. Moves are counted from zero, so a burst comes first of all.
    """

    def __init__(self, n: TwoOrMore, first: Whole, every: TwoOrMore):
        self.n, self.first, self.every = n, first, every

    def covers(self, move: int) -> bool:
        return move < self.first or move % self.every == 0


class CriticSteps(Trick):
    """The generator moves in each n-th round only, after n moves of the discriminator.

    The k of the first algorithm (Goodfellow et al. 2014, algorithm 1); n = 5 in Arjovsky, Chintala & Bottou
    2017. Each move of the discriminator sees a batch of its own, as each round does, so in `steps` rounds
    the generator makes steps / n moves.

    burst: at which of its moves the generator waits for another number than n; null: at none.
    """

    needs = frozenset({Capability.DISCRIMINATOR})
    claims = frozenset({Capability.MOVE_CONTROL})

    def __init__(self, n: TwoOrMore, burst: Burst | None):
        super().__init__()
        self.n = n
        if burst and burst.n == n:
            raise ConfigError(f"trick.critic_steps.burst.n={n} is n itself and would do nothing")
        self.burst = burst
        self.ends = [0]  # after how many rounds the generator has made none, one, two, ... moves

    def plays(self, player: Player, step: int) -> bool:
        return player == "discriminator" or step + 1 == self._end(step)

    def _end(self, step: int) -> int:
        """The number of rounds after which the generator's wait is over that a round is a part of."""
        while self.ends[-1] <= step:
            self.ends.append(self.ends[-1] + self._wait(len(self.ends) - 1))
        return self.ends[bisect_right(self.ends, step)]

    def _wait(self, move: int) -> int:
        return self.burst.n if self.burst and self.burst.covers(move) else self.n


class GeneratorSteps(Trick):
    """The discriminator moves in each k-th round only, in front of k moves of the generator.

    Three against minibatch discrimination (Salimans et al. 2016, code), and two in the code of PacGAN. Each
    move has latents of its own.
    """

    needs = frozenset({Capability.DISCRIMINATOR})
    claims = frozenset({Capability.MOVE_CONTROL})

    def __init__(self, k: TwoOrMore):
        super().__init__()
        self.k = k

    def plays(self, player: Player, step: int) -> bool:
        return player == "generator" or step % self.k == 0
