"""python scripts/segmenter.py <folder> --output <file>: trains a segmenter of photos, for metric=fcn_score.

<folder> has trainA, trainB, testA and testB, of which A are photos and B their label maps, whose colours
are the classes; `--photos B` exchanges them. The FCN-score of Isola et al. (2017, section 4.2) is then
measured by `metric=fcn_score metric.fcn_score.segmenter=<file>`. The scores of real photos, which are the
ceiling, and of the most frequent class are printed.

`--extractor FILE` also writes a classifier that has learned the shares of the classes in photos, whose
features other metrics compare: extractor=trained extractor.name=FILE.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from train_classifier import save_classifier

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.data.base import Data
from ganlab.metrics.extractors import Classifier
from ganlab.metrics.segmentation import Segmenter, segmentation_scores

LEVELS = 4  # colours of label maps are rounded to so many levels of each channel, because JPEG smears them
RARE = 0.001  # colours of fewer pixels are no class
BATCH = 16


def palette(maps: Tensor) -> list[list[float]]:
    """The frequent colours of label maps [N, C, H, W] in [0, 1], the most frequent first."""
    pixels = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    colours, counts = (pixels * (LEVELS - 1)).round().unique(dim=0, return_counts=True)
    order = counts.argsort(descending=True)
    frequent = order[counts[order] >= RARE * len(pixels)]
    return (colours[frequent] / (LEVELS - 1)).tolist()


def train(
    network: nn.Module, x: Tensor, classes: Tensor, epochs: int, mirror: bool, num_classes: int | None = None
) -> None:
    """Trains a network on photos.

    Args:
        mirror: whether half of the batches are mirrored.
        num_classes: the network learns the shares of so many classes; None: the class of each pixel.
    """
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            images, target = x[rows], classes[rows]
            if mirror and torch.rand(()) < 0.5:
                images, target = images.flip(3), target.flip(2)
            if num_classes is not None:
                target = functional.one_hot(target.flatten(1), num_classes).float().mean(1)
            loss = functional.cross_entropy(network(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()


def pairs(data: Data, split: str) -> tuple[Tensor, Tensor]:
    """The photos and the label maps of a split."""
    photos, maps = zip(*data.split(split, "cpu", 100), strict=True)
    return torch.cat(photos), torch.cat(maps)


def main() -> None:
    """Trains a segmenter, and prints the scores of real photos and of the most frequent class."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--extractor", type=Path, help="another .safetensors file to write")
    parser.add_argument("--photos", choices=["A", "B"], default="A")
    parser.add_argument("--side", type=int, default=64, help="height and width of the images")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-mirror", dest="mirror", action="store_false", help="classes are oriented")
    options = parser.parse_args()
    settings = [f"data.root={options.folder}", f"data.height={options.side}", "data.range=[0,1]"]
    settings += [f"data.direction={'BtoA' if options.photos == 'A' else 'AtoB'}", "data.batch_size=1"]
    data = build_data(compose("data=paired_folder", *settings))
    torch.manual_seed(options.seed)
    (x, maps), (test_x, test_maps) = pairs(data, "train"), pairs(data, "test")
    segmenter = Segmenter(x.shape[1], palette(maps), options.width)
    classes, right, k = segmenter.classes(maps), segmenter.classes(test_maps), len(segmenter.colours)
    train(segmenter, x, classes, options.epochs, options.mirror)
    segmenter.save(options.output)
    majority = torch.full_like(right, int(classes.flatten().mode().values))
    for name, found in (("real photos", segmenter.predict(test_x)), ("most frequent class", majority)):
        values = segmentation_scores(found, right, k)
        print(f"{name}: " + ", ".join(f"{v:.4f}" for v in values) + " (pixels, classes, IoU)", flush=True)
    if options.extractor:
        architecture = {"shape": tuple(x.shape[1:]), "num_classes": k, "width": 24, "num_features": 48}
        classifier = Classifier(**architecture)
        train(classifier, x, classes, options.epochs, options.mirror, num_classes=k)
        save_classifier(classifier, architecture, options.extractor)


if __name__ == "__main__":
    main()
