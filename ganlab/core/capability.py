"""What a game provides, and what its tricks and its objective need."""

from enum import StrEnum


class Capability(StrEnum):
    """Properties of an objective, of data or of a setting that a trick may need, or claim exclusively.

    A trick that destroys a property claims it. Every other trick that needs the property is then refused.
    The values are noun phrases for messages: "needs targets".
    """

    DISCRIMINATOR = "a discriminator"
    LOSS_ON_LOGITS = "a loss on logits"  # some objectives use only the features of the discriminator
    BOUNDARY_AT_ZERO = "logits that are positive for real samples and negative for fakes"
    TARGETS = "targets"
    NON_NEGATIVE_LOSSES = "losses of both players that are never negative"
    LOSS_PER_FAKE = "a generator loss for each fake"
    MOVE_CONTROL = "control over which player moves"
    # Trick lookahead undoes a part of the updates.
    LASTING_DISCRIMINATOR_UPDATES = "discriminator updates that are never undone"
    GENERATOR_ADVERSARIAL_TERM = "the generator's adversarial term"
    ZERO_SUM = "the generator loss log(1 - D)"
    CLASSES = "classes"
    LABELS = "labels"  # classes or vectors
    LABELLED_BATCH = "labelled samples in addition to the batch"
    ONE_PROCESS = "a single process"
    SECOND_DERIVATIVES = "second derivatives"
    # A trick that normalises or clips the weights determines their scale, which only one trick may do.
    DISCRIMINATOR_WEIGHT_SCALE = "the scale of the discriminator's weights"
    GENERATOR_WEIGHT_SCALE = "the scale of the generator's weights"
    GENERATOR_NORM = "the generator's batch norm"
    FEATURES = "features of whole samples"  # discriminators of patches have none
    TRAINED_GENERATOR = "a generator that is trained"  # not a borrowed one
    LATENT = "latents"  # a generator that only translates images has none
    PAIRS = "real samples that answer their own conditions"
    APART = "samples that are real or fake as a whole"  # GAIN judges single values of a sample
    INDEX = "training samples that are the same whenever they are seen"  # random crops and flips change them
    VERDICT_PER_SAMPLE = "verdicts on single samples"  # trick packing has verdicts on packs of samples


# The capabilities that a game has by default. `Game` adds those that its objective and its data provide, and
# removes those that its settings exclude, for example LABELLED_BATCH if data.labelled is not given.
BASE_CAPABILITIES = frozenset(Capability) - {
    Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.BOUNDARY_AT_ZERO, Capability.TARGETS,
    Capability.NON_NEGATIVE_LOSSES, Capability.LOSS_PER_FAKE, Capability.ZERO_SUM, Capability.CLASSES,
    Capability.LABELS, Capability.FEATURES, Capability.TRAINED_GENERATOR, Capability.LATENT, Capability.PAIRS,
    Capability.APART,
}  # fmt: skip
