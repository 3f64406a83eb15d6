import random

import numpy as np
import torch

from ganlab.core.randomness import RandomStreams, derive_seed, reseed


def test_the_low_bits_of_seeds_do_not_collide() -> None:
    assert len({derive_seed(seed, step) & 0xFFFFFFFF for seed in range(50) for step in range(50)}) == 2500
    assert derive_seed(1, 2) != derive_seed(2, 1)
    assert derive_seed(0, "a") != derive_seed(0, "b")
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert derive_seed("1", 2) != derive_seed(1, 2)


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert derive_seed(0, 1, "data") == 1865695772601585422


def test_reseeding_sets_all_generators() -> None:
    def numbers() -> list[float]:
        return [float(torch.rand(())), random.random(), np.random.rand()]

    reseed(3, 4)
    first = numbers()
    numbers()
    reseed(3, 4)
    assert numbers() == first


def test_ranks_draw_the_rows_of_one_batch() -> None:
    everyone = RandomStreams(0, 5).normal("latent", 6, 3)
    ranks = [RandomStreams(0, 5, rank=rank, world_size=3).normal("latent", 2, 3) for rank in range(3)]
    assert torch.equal(torch.cat(ranks), everyone)


def test_one_stream_does_not_shift_another() -> None:
    streams, other = RandomStreams(0), RandomStreams(0)
    other.uniform("noise", 7)
    assert torch.equal(streams.normal("latent", 4), other.normal("latent", 4))
    assert not torch.equal(streams.normal("latent", 4), RandomStreams(0).normal("latent", 4))
