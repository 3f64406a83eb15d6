"""The seventeen tips of ganhacks (Chintala, Denton, Arjovsky & Mathieu 2016), as settings of ganlab."""

from __future__ import annotations

# The tip, the settings that follow it, and a remark.
GANHACKS: list[tuple[str, tuple[str, ...], str]] = [
    (
        "Normalise the inputs",
        ("data.range=[-1,1]",),
        "The default: images in [-1, 1], and a generator that ends in tanh.",
    ),
    (
        "A modified loss: max log D",
        ("objective=non_saturating",),
        "The default. The same by flipped labels is `objective=minimax trick=inverted_labels`.",
    ),
    (
        "A spherical prior",
        ("model/prior@model.generator.prior=normal",),
        "The default with `model=gan`. Latents exactly on a sphere: "
        "`model/prior@model.generator.prior=sphere`. Interpolation along great circles: "
        "`python -m ganlab.sample what=interpolate`.",
    ),
    (
        "Batch norm, with real and fake samples in separate batches",
        ("model=dcgan",),
        "The batches are always separate. If batch norm is not possible: `trick=normalisation "
        "trick.normalisation.kind=instance`.",
    ),
    (
        "No sparse gradients: no ReLU, no max pooling",
        ("model=dcgan", "model.generator.slope=0.2"),
        "Leaky ReLU in both players, and strided convolutions. By default, the generator has ReLU, as in the "
        "DCGAN paper.",
    ),
    (
        "Soft and noisy labels",
        ("trick=noisy_labels",),
        "With the ranges and flips of the tip. `trick=label_smoothing` is one-sided, as in Salimans et al. "
        "(2016).",
    ),
    (
        "DCGAN if possible",
        ("model=dcgan",),
        "The alternative of the tip, a VAE with a GAN, is not available; `model=vae` is a plain VAE.",
    ),
    (
        "Tricks of reinforcement learning",
        ("trick=replay_buffer",),
        "Fakes of earlier steps are shown again. Swapping in old checkpoints is not available.",
    ),
    (
        "Adam",
        ("optimizer=adam",),
        "With the learning rate 0.0002 of DCGAN; by default each model has Adam at its own rate. SGD for the "
        "discriminator: `optimizer=sgd_adam`.",
    ),
    (
        "Track failures early",
        ("log_every=10", "clip.discriminator=inf", "clip.generator=inf"),
        "Each loss term of each player is logged, and NaN ends a run. Gradient norms are logged if `clip` is "
        "given: `inf` only logs, `100` also clips.",
    ),
    (
        "No balancing by the loss",
        ("play=alternating",),
        "By default each player moves once a step. Balancing is `trick=adaptive_balance`.",
    ),
    (
        "Use labels",
        ("trick=auxiliary_classifier",),
        "Or conditional networks: `trick=label_conditioning`.",
    ),
    (
        "Noise on the inputs, decaying over time, and on the generator's layers",
        ("trick=[instance_noise,noise_layers]", "trick.noise_layers.player=generator"),
        "The noise falls linearly to zero by default; any schedule is possible. In the discriminator's "
        "layers: `trick.noise_layers.player=discriminator`.",
    ),
    (
        "Train the discriminator more",
        ("trick=critic_steps",),
        "The authors are not sure about it.",
    ),
    (
        "Batch discrimination",
        ("trick=minibatch_discrimination",),
        "The authors are not sure about it. Cheaper: `trick=minibatch_stddev`.",
    ),
    (
        "Discrete conditions by an embedding",
        (
            "trick=label_conditioning",
            "trick.label_conditioning.generator=embedding",
            "trick.label_conditioning.discriminator=embedding",
        ),
        "One-hot planes are the default; `norm` and `projection` are alternatives.",
    ),
    (
        "Dropout in the generator, when training and when testing",
        ("trick=generator_dropout", "trick.generator_dropout.at_test=true"),
        "The noise depends on the seed of the samples, so they can be reproduced.",
    ),
]
