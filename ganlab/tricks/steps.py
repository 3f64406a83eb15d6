from ganlab.errors import Refused
from ganlab.tricks.base import Trick
from ganlab.turn import Offer, Player


class CriticSteps(Trick):
    """The generator moves in each n-th round only, after n moves of the discriminator.

    The k of the first algorithm (Goodfellow et al. 2014, algorithm 1); n = 5 in Arjovsky, Chintala & Bottou
    2017. Each move of the discriminator sees a batch of its own, as each round does, so in `steps` rounds
    the generator makes steps / n moves.
    """

    needs = frozenset({Offer.DISCRIMINATOR})
    takes = frozenset({Offer.MOVES})

    def __init__(self, n: int):
        super().__init__()
        self.n = several("trick.critic_steps.n", n)

    def plays(self, player: Player, step: int) -> bool:
        return player == "discriminator" or (step + 1) % self.n == 0


class GeneratorSteps(Trick):
    """The discriminator moves in each k-th round only, in front of k moves of the generator.

    Three against minibatch discrimination (Salimans et al. 2016, code), and two in the code of PacGAN. Each
    move has latents of its own.
    """

    needs = frozenset({Offer.DISCRIMINATOR})
    takes = frozenset({Offer.MOVES})

    def __init__(self, k: int):
        super().__init__()
        self.k = several("trick.generator_steps.k", k)

    def plays(self, player: Player, step: int) -> bool:
        return player == "generator" or step % self.k == 0


def several(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise Refused(f"{name}={value} must be a whole number of at least 2: one each is the game without it")
    return value
