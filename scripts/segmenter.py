"""python scripts/segmenter.py <folder> [name=run_dir ...]: an FCN-score of translated photos.

<folder> has trainA, trainB, testA and testB, of which A are photos and B their label maps, whose colours
are the classes. A small segmenter learns to find the classes in photos, as that of Isola et al. (2017,
section 4.2) does in photos of streets. The photos that runs make of the label maps of testB are the better,
the better it finds these labels in them: shares of pixels, of the pixels of each class (their mean), and
mean intersection over union. Real photos are the ceiling, and the most frequent class is the floor.

`--extractor FILE` also writes a classifier that has learned the shares of the classes in photos, whose
features metrics compare: extractor=trained extractor.name=FILE.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from train_classifier import save_classifier

import ganlab
from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.data.base import Data
from ganlab.metrics.extractors import Classifier

LEVELS = 4  # colours of label maps are rounded to so many levels of each channel, because JPEG smears them
RARE = 0.001  # colours of fewer pixels are no class
BATCH = 16


class Segmenter(nn.Module):
    """Class logits of each pixel: images [B, 3, H, W] -> [B, K, H, W]."""

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for dilation in (1, 1, 2, 4, 8, 1):
            layers += [
                nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.body = nn.Sequential(*layers, nn.Conv2d(width, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def palette(maps: Tensor) -> Tensor:
    """The frequent colours [K, 3] of label maps [N, 3, H, W] in [-1, 1], the most frequent first."""
    pixels = maps.permute(0, 2, 3, 1).reshape(-1, 3)
    rounded = ((pixels + 1) / 2 * (LEVELS - 1)).round()
    colours, counts = rounded.unique(dim=0, return_counts=True)
    order = counts.argsort(descending=True)
    frequent = order[counts[order] >= RARE * len(pixels)]
    return colours[frequent] / (LEVELS - 1) * 2 - 1


def classes_of(maps: Tensor, colours: Tensor) -> Tensor:
    """The class of each pixel, the nearest colour: [N, 3, H, W] -> int64 [N, H, W]."""
    return torch.stack([torch.cdist(m.flatten(1).T, colours).argmin(1).view(m.shape[1:]) for m in maps])


def train(network: nn.Module, x: Tensor, classes: Tensor, epochs: int, *, per_image: bool) -> None:
    """Trains a network on photos, half of them mirrored; `per_image`: it learns the shares of the classes."""
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    num_classes = int(classes.max()) + 1
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
            images, target = x[rows], classes[rows]
            if torch.rand(()) < 0.5:
                images, target = images.flip(3), target.flip(2)
            if per_image:
                shares = functional.one_hot(target.flatten(1), num_classes).float().mean(1)
                loss = functional.cross_entropy(network(images), shares)
            else:
                loss = functional.cross_entropy(network(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def predicted(segmenter: Segmenter, x: Tensor) -> Tensor:
    """The class of each pixel of images, [N, 3, H, W] -> [N, H, W]."""
    segmenter.eval()
    return torch.cat([segmenter(part).argmax(1) for part in x.split(BATCH)])


def scores(found: Tensor, right: Tensor, num_classes: int) -> dict[str, float]:
    """The share of right pixels, its mean over the classes, and the mean intersection over union."""
    confusion = torch.bincount((right * num_classes + found).flatten(), minlength=num_classes**2)
    confusion = confusion.view(num_classes, num_classes).double()
    hits, of_class, of_found = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    exists = of_class > 0
    return {
        "pixels": float(hits.sum() / confusion.sum()),
        "classes": float((hits / of_class)[exists].mean()),
        "iou": float((hits / (of_class + of_found - hits))[exists].mean()),
    }


def pairs(data: Data, split: str) -> tuple[Tensor, Tensor]:
    """The photos and the label maps of a split."""
    photos, maps = zip(*data.split(split, "cpu", 100), strict=True)
    return torch.cat(photos), torch.cat(maps)


def main() -> None:
    """Trains a segmenter, and prints a row for real photos, the most frequent class, and each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("runs", nargs="*", help="name=run_dir")
    parser.add_argument("--side", type=int, default=64, help="height and width of the images")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--extractor", type=Path, help="a .safetensors file to write")
    parser.add_argument("--output", type=Path, help="a .csv file to write")
    options = parser.parse_args()
    settings = [f"data.root={options.folder}", f"data.height={options.side}", "data.num_workers=0"]
    data = build_data(compose("data=paired_folder", "data.direction=BtoA", "data.batch_size=1", *settings))
    torch.manual_seed(options.seed)
    (x, maps), (test_x, test_maps) = pairs(data, "train"), pairs(data, "test")
    colours = palette(maps)
    classes, right, k = classes_of(maps, colours), classes_of(test_maps, colours), len(colours)
    segmenter = Segmenter(k, options.width)
    train(segmenter, x, classes, options.epochs, per_image=False)
    rows = {
        "real photos": scores(predicted(segmenter, test_x), right, k),
        "most frequent class": scores(torch.full_like(right, int(classes.flatten().mode().values)), right, k),
    }
    for name, _, run_dir in (run.partition("=") for run in options.runs):
        made = ganlab.load(run_dir).sample(len(test_maps), 0, test_maps)
        rows[name] = scores(predicted(segmenter, made), right, k)
    output = options.output.open("w") if options.output else sys.stdout
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(["photos", *rows["real photos"]])
    writer.writerows([name, *(f"{value:.4f}" for value in row.values())] for name, row in rows.items())
    if options.extractor:
        architecture = {"shape": tuple(x.shape[1:]), "num_classes": k, "width": 24, "num_features": 48}
        classifier = Classifier(**architecture)
        train(classifier, (x + 1) / 2, classes, options.epochs, per_image=True)
        save_classifier(classifier, architecture, options.extractor)


if __name__ == "__main__":
    main()
