"""The networks of pix2pix against the counts and sizes of the paper's code."""

from __future__ import annotations

import pytest
import torch
from support.refusals import refuses
from torch import Tensor, nn

from ganlab.core.batch import ConditionSpec
from ganlab.networks import base, priors, translation
from ganlab.networks.norms import BATCH_NORMS


def spec(side: int, channels: int = 3) -> ConditionSpec:
    return ConditionSpec("image", (channels, side, side))


def unet(side: int, width: int = 4, dropout: float = 0.0, latent_dim: int = 0) -> base.Generator:
    sizes = {"condition": spec(side), "shape": (3, side, side), "value_range": (-1, 1)}
    return translation.pix2pix_unet(latent_dim, width, dropout, **sizes, prior=priors.Uniform(1.0))


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(("side", "parameters"), [(256, 54_413_955), (128, 41_828_995)])
def test_a_unet_has_the_parameters_of_the_papers_code(side: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(unet(side, 64, 0.5, 4)) == parameters


def test_a_patch_gan_has_the_parameters_of_the_papers_code() -> None:
    with torch.device("meta"):
        discriminator = translation.patch_gan(64, 70, condition=spec(256), shape=(3, 256, 256))
    assert count(discriminator) == 2_768_705


SIDES = {  # the sides of the maps of logits, by the receptive field and the side of the image
    1: {256: 256, 28: 28},
    16: {256: 126, 64: 30, 32: 14, 28: 12},
    34: {256: 62, 64: 14, 32: 6, 28: 5},
    70: {256: 30, 128: 14, 64: 6, 32: 2, 28: 1},
    142: {256: 14},
    286: {256: 6},
}


@pytest.mark.parametrize("field", SIDES)
def test_a_patch_gan_has_the_maps_of_the_papers_code(field: int) -> None:
    for side, expected in SIDES[field].items():
        discriminator = translation.patch_gan(2, field, condition=None, shape=(1, side, side)).eval()
        assert discriminator(torch.zeros(1, 1, side, side)).logits.shape == (1, expected, expected)
    smallest = translation.MIN_SIDES[translation.RECEPTIVE_FIELDS.index(field)]
    discriminator = translation.patch_gan(2, field, condition=None, shape=(1, smallest, smallest)).eval()
    assert discriminator(torch.zeros(1, 1, smallest, smallest)).logits.shape == (1, 1, 1)
    if smallest > 1:
        with refuses(".receptive_field", field, "is too large for", "choose one of 1"):
            translation.patch_gan(2, field, condition=None, shape=(1, smallest - 1, smallest))


@pytest.mark.parametrize("field", translation.RECEPTIVE_FIELDS)
def test_a_logit_sees_its_receptive_field(field: int) -> None:
    side = 64 if field < 70 else 320
    discriminator = translation.patch_gan(2, field, condition=None, shape=(1, side, side)).double()
    base.replace_modules(discriminator, BATCH_NORMS, lambda norm: nn.Identity())
    for weight in discriminator.parameters():
        weight.data.abs_()  # or a gradient could vanish by chance
    x = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    logits = discriminator(x).logits[0]
    (gradient,) = torch.autograd.grad(logits[len(logits) // 2, len(logits) // 2], x)
    for axis in (2, 3):
        seen = (gradient != 0).any(5 - axis)[0, 0].nonzero()[:, 0]
        assert (len(seen), int(seen[-1] - seen[0]) + 1) == (field, field)


def test_a_discriminator_of_pairs_sees_the_input() -> None:
    def gradient(condition: ConditionSpec | None) -> Tensor:
        discriminator = translation.patch_gan(4, 16, condition=condition, shape=(3, 16, 16))
        told = torch.randn(2, 3, 16, 16, requires_grad=True)
        logits = discriminator(torch.randn(2, 3, 16, 16), told).logits
        return torch.autograd.grad(logits.square().sum(), told, allow_unused=True)[0]

    assert gradient(spec(16)).abs().sum() > 0
    assert gradient(None) is None


@pytest.mark.parametrize(("side", "depth"), [(8, 3), (28, 3), (24, 4), (176, 4), (64, 6), (256, 8)])
def test_the_depth_of_a_unet_follows_from_the_size(side: int, depth: int) -> None:
    with torch.device("meta"):
        generator = unet(side)
        (body,) = generator.body
        assert len(body.down) == len(body.up) == depth
        assert generator(torch.zeros(1, 0), torch.zeros(1, 3, side, side)).shape == (1, 3, side, side)
    # At a single pixel, a norm of one image would be constant: instance norm refuses it.
    base.replace_modules(generator, BATCH_NORMS, lambda norm: nn.InstanceNorm2d(norm.num_features))
    generator.to_empty(device="cpu")(torch.zeros(1, 0), torch.zeros(1, 3, side, side))


def test_a_unet_refuses_odd_sides() -> None:
    with refuses("data.shape", [3, 30, 30], "cannot be halved twice", "multiples of 4"):
        unet(30)
    with refuses("data.shape", [3, 15, 15], "cannot be halved at all"):
        unet(15)
    with refuses(".dropout", 0.5, "needs latents", "set latent_dim"):
        unet(16, dropout=0.5)


def test_a_unet_needs_each_of_its_skips() -> None:
    generator, x = unet(16).eval(), torch.randn(2, 3, 16, 16)
    (body,) = generator.body
    before = generator(torch.zeros(2, 0), x)
    for layer in body.up[1:]:
        (convolution,) = [m for m in layer if isinstance(m, nn.ConvTranspose2d)]
        kept = convolution.weight.data.clone()
        convolution.weight.data[len(kept) // 2 :] = 0  # the second half receives the maps that skip
        assert not torch.allclose(generator(torch.zeros(2, 0), x), before)
        convolution.weight.data = kept


def test_dropout_is_noise_that_follows_from_the_latent() -> None:
    generator, x = unet(16, 8, 0.5, 4), torch.randn(1, 3, 16, 16)
    generator.eval()
    latents = torch.rand(6, 4)
    together = generator(latents, x.expand(6, -1, -1, -1))
    alone = torch.cat([generator(latent[None], x) for latent in latents])
    torch.testing.assert_close(together, alone)
    assert len({float(image.sum()) for image in together}) == 6
    generator.train()
    torch.manual_seed(1)
    first = generator(latents, x.expand(6, -1, -1, -1))
    torch.manual_seed(2)
    assert torch.equal(generator(latents, x.expand(6, -1, -1, -1)), first)
    num_dropouts = sum(type(m).__name__ == "KeyedDropout" for m in generator.modules())
    assert num_dropouts == 3
