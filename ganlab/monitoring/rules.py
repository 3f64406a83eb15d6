"""The rules of the health monitor: what goes wrong in training, by which numbers it shows, and what to try.

A number is the median of the last measurements. It is beyond a threshold on the side away from the second
threshold, behind which the finding ends. No threshold depends on a loss: `overfit` depends on the order of
logits alone, which means the same for every objective, and the others are ratios to real data or to the first
weights. A rule applies to a game that has its numbers, see `probe` and `updates`.

Of the thresholds, those of experiments/health were chosen on other seeds than those that are counted there.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule; `{player}` in its texts stands for each player.

    Args:
        signature: for each number, the threshold beyond which the finding begins, and the one behind which it
            ends. It begins if all numbers are beyond the first, and ends if one is behind the second.
        evidence: a sentence with the numbers.
        remedies: overrides to try. The first that composes with the run is named, see `remedies`.
        priority: while a finding of priority 0 or 1 lasts, none of a higher number begins: it would follow.
        window: the number of measurements of which a median is taken.
        after: measurements up to this step do not count.
    """

    name: str
    signature: Mapping[str, tuple[float, float]]
    evidence: str
    cause: str
    remedies: tuple[str, ...]
    priority: int
    window: int = 4
    after: int = 100


RULES = (
    Rule(
        "diverging",
        {"growth": (4, 3)},
        "the weights of all players have grown to {growth:.1f} times what is usual",
        "learning rates that are far too high",
        ("optimizer.{players}.lr=<optimizer.{players}.lr/100>", "trick=gradient_penalty"),
        priority=0, window=1, after=0,
    ),
    Rule(
        "data_range",
        {"range": (0.6, 0.7)},
        "the data fill {range:.2f} of their range, which is that of the generator's last layer",
        "data that are scaled otherwise than data.range says, such as [0, 1] under tanh",
        ("data.range=[0,1]", "data.range=[-1,1]"),
        priority=1, window=1, after=0,
    ),
    Rule(
        "constant_latents",
        {"latents": (1e-3, 1e-2)},
        "the latents of a batch have a standard deviation of {latents:.2g}",
        "a trick or a prior that gives all samples of a batch the same latent",
        ("~own",),
        priority=1, window=2, after=0,
    ),
    Rule(
        "no_gradient",
        {"gradient/{player}": (1e-10, 1e-9)},
        "the gradient of the {player} is {gradient/{player}:.2g}",
        "a loss that does not depend on the {player}: detached samples, or a saturated discriminator",
        ("~own", "objective=non_saturating"),
        priority=1, window=3, after=0,
    ),
    Rule(
        "frozen",
        {"change/{player}": (1e-6, 1e-5), "gradient/{player}": (1e-6, 1e-8)},
        "a step changes the weights of the {player} by {change/{player}:.2g} of their norm, "
        "at a gradient of {gradient/{player}:.2g}",
        "a learning rate of 0, or an optimiser of other weights",
        (
            "optimizer.{player}.lr=<optimizer.generator.lr>",
            "optimizer.{player}.lr=<optimizer.discriminator.lr>",
        ),
        priority=1, window=3, after=0,
    ),
    Rule(
        "shared_optimizer",
        {"foreign/{player}": (1e-6, 1e-7)},
        "the optimiser of the {player} moves others, by {foreign/{player}:.2g} of their norm in a step",
        "one optimiser over the weights of several players",
        ("~own",),
        priority=1, window=2, after=0,
    ),
    Rule(
        "rate_too_high",
        {"growth/{player}": (4, 3)},
        "the weights of the {player} have grown to {growth/{player}:.1f} times what is usual",
        "a learning rate that is too high for the {player}, or a loss that pays for large weights",
        ("optimizer.{player}.lr=<optimizer.{player}.lr/100>", "trick=gradient_penalty", "trick=r1"),
        priority=2, window=1, after=0,
    ),
    Rule(
        "batch_norm",
        {"batch_norm": (0.35, 0.25)},
        "samples in training and evaluation mode differ by {batch_norm:.2f} of the distance of real ones",
        "running statistics of batch norm that do not fit the batches: small batches, or a small momentum",
        ("~own", "trick=normalisation", "trick=normalisation trick.normalisation.player=generator"),
        priority=2,
    ),
    Rule(
        "average_lags",
        {"average": (2, 1.5)},
        "samples of the average are {average:.1f} times as far from the data as those of the generator",
        "an average of the weights over too many steps",
        ("trick.ema.decay=0.99",),
        priority=2,
    ),
    Rule(
        "overfitting",
        {"overfit": (0.72, 0.65)},
        "in {overfit:.0%} of pairs a training sample seems more real than a held-out one",
        "a discriminator that knows the training samples by heart, of which there are few",
        ("data.per_class=null", "trick=diff_augment", "trick=instance_noise", "trick=r1"),
        priority=2,
    ),
    Rule(
        "condition_ignored",
        {"condition": (0.12, 0.2), "fit": (0.1, 0.3)},
        "another condition moves a sample by {condition:.2f} of the distance of real samples",
        "a discriminator that does not check conditions, or does so too weakly",
        ("trick.auxiliary_classifier.weight=1", "trick.label_conditioning.discriminator=projection"),
        priority=2,
    ),
    Rule(
        "noise_ignored",
        {"noise": (0.05, 0.07), "fit": (0.2, 0.4)},
        "other latents move a sample by {noise:.2f} of the distance of real samples",
        "a condition, or a loss on single samples, that leaves nothing to the latents",
        ("trick.pixel_loss.weight=<trick.pixel_loss.weight/100>", "trick=mode_seeking"),
        priority=2,
    ),
    Rule(
        "checkerboard",
        {"checkerboard": (0.012, 0.006)},
        "patterns of alternate pixels make {checkerboard:.1%} more of the variance than in real images",
        "transposed convolutions whose kernel is no multiple of their stride",
        ("model.generator.kernel=4", "~own"),
        priority=2,
    ),
    Rule(
        "missing_class",
        {"rarest_class": (0.05, 0.1), "fit": (0.05, 0.08)},
        "the rarest class among the samples has {rarest_class:.2f} of its share, although samples are good",
        "a class that is rare in training, or that the generator has dropped",
        ("data.share=null", "trick=packing", "trick=minibatch_stddev"),
        priority=2, after=200,
    ),
    Rule(
        "collapse",
        {"distance": (0.35, 0.45), "fit": (0.3, 0.2)},
        "samples are {distance:.2f} as far apart as real ones",
        "a generator that makes what fools the discriminator now, and little else",
        ("trick=packing", "trick=r1", "trick=minibatch_stddev", "trick=unrolled"),
        priority=3,
    ),
)  # fmt: skip
NAMES = tuple(rule.name for rule in RULES)
