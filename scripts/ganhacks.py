"""The seventeen tips of ganhacks (Chintala, Denton, Arjovsky & Mathieu 2016), each as settings of ganlab."""

from __future__ import annotations

# Tip, settings that follow it (none: it is so anyhow), and what there is to say.
GANHACKS: list[tuple[str, tuple[str, ...], str]] = [
    (
        "Normalise the inputs",
        ("data.range=[-1,1]",),
        "The default: images in [-1, 1], and a generator that ends in tanh.",
    ),
    (
        "A modified loss: max log D",
        ("objective=non_saturating",),
        "The default. By flipped labels: `objective=minimax trick=inverted_labels`, which is the same.",
    ),
    (
        "A spherical prior",
        ("model/prior@model.generator.prior=normal",),
        "The default with `model=gan`. On the sphere itself: `model/prior@model.generator.prior=sphere`. "
        "Along great circles: `python -m ganlab.sample what=interpolate`.",
    ),
    (
        "Batch norm, real and fake samples in batches of their own",
        ("model=dcgan",),
        "Always so: no pass sees both. Where there can be no batch norm: `trick=normalisation "
        "trick.normalisation.kind=instance`.",
    ),
    (
        "No sparse gradients: no ReLU, no max pooling",
        ("model=dcgan", "model.generator.slope=0.2"),
        "Leaky ReLU in both players, and strided convolutions. Without the slope the generator has ReLU, as "
        "in the paper.",
    ),
    (
        "Soft and noisy labels",
        ("trick=noisy_labels",),
        "Their ranges, with flips. `trick=label_smoothing` is the one-sided version of the paper.",
    ),
    (
        "DCGAN where one can",
        ("model=dcgan",),
        "Their other family, a VAE and a GAN in one, is not available; `model=vae` is the plain one.",
    ),
    (
        "Tricks of reinforcement learning",
        ("trick=replay_buffer",),
        "Fakes of earlier rounds are shown again. Old checkpoints of both players are not brought back.",
    ),
    (
        "Adam",
        ("optimizer=adam",),
        "With the rate 0.0002 of DCGAN, whose default it is; every model comes with an Adam of its own. SGD "
        "for the discriminator: `optimizer=sgd_adam`.",
    ),
    (
        "Track failures early",
        ("log_every=10", "clip.discriminator=inf", "clip.generator=inf"),
        "Each term of each player is logged, and NaN ends a run. Norms of gradients are logged where `clip` "
        "bounds them: `inf` watches, `100` also bounds.",
    ),
    (
        "No balance by the loss",
        ("play=alternating",),
        "The default is one move each. Who wants to see it: `trick=adaptive_balance`.",
    ),
    (
        "Use labels",
        ("trick=auxiliary_classifier",),
        "Or give them to both players: `trick=label_conditioning`.",
    ),
    (
        "Noise on the inputs, falling with time, and on the generator's layers",
        ("trick=[instance_noise,noise_layers]", "trick.noise_layers.player=generator"),
        "Linear to zero by default; any schedule. In the discriminator's layers: "
        "`trick.noise_layers.player=discriminator`.",
    ),
    (
        "Train the discriminator more",
        ("trick=critic_steps",),
        "They were not sure.",
    ),
    (
        "Batch discrimination",
        ("trick=minibatch_discrimination",),
        "They were not sure. Cheaper: `trick=minibatch_stddev`.",
    ),
    (
        "Discrete conditions by an embedding",
        (
            "trick=label_conditioning",
            "trick.label_conditioning.generator=embedding",
            "trick.label_conditioning.discriminator=embedding",
        ),
        "One-hot planes are the default; `norm` and `projection` are the others.",
    ),
    (
        "Dropout in the generator, when training and when testing",
        ("trick=generator_dropout", "trick.generator_dropout.at_test=true"),
        "With noise that hangs on the seed of the samples, so they can be drawn again.",
    ),
]
