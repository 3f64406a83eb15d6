"""The classic sets: the real files where they are at hand, small ones in their formats where not."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torchvision import datasets

from ganlab.core.errors import ConfigError
from ganlab.data.vision import Vision

REAL = Path("../shared/data")
real = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is not there")
UNREACHABLE = "http://127.0.0.1:9/"


def configured(name: str, **changes: Any) -> Vision:
    facts = OmegaConf.to_container(OmegaConf.load(f"conf/data/{name}.yaml")) | changes
    return Vision(**{key: value for key, value in facts.items() if key not in ("_target_", "defaults")})


@real
def test_mnist_is_mnist():
    data = configured("mnist", root=str(REAL))
    assert len(data) == 60_000
    x, y = next(data.split("train", "cpu", 60_000))
    assert x.shape == (60_000, 1, 28, 28)
    assert y[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs((x.mean().item() + 1) / 2 - 0.1307) < 5e-5
    assert len(next(data.split("test", "cpu", 60_000))[0]) == 10_000


@real
def test_fashion_mnist_is_fashion_mnist():
    data = configured("fashion_mnist", root=str(REAL), range=[0, 1])
    x, _ = next(data.split("train", "cpu", 60_000))
    assert abs(x.mean().item() - 0.2860) < 5e-5


def idx(numbers: np.ndarray) -> bytes:
    """The file format of MNIST: zero, type, number of axes, their lengths, the bytes."""
    return bytes([0, 0, 8, numbers.ndim]) + np.array(numbers.shape, ">i4").tobytes() + numbers.tobytes()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Tells nobody."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Twelve random images in MNIST's format, where torchvision will look for the download."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    labels = (np.arange(12) % 10).astype(np.uint8)
    place = tmp_path / "server"
    place.mkdir()
    resources = []
    for name, _ in datasets.MNIST.resources:
        packed = gzip.compress(idx(pixels if "images" in name else labels))
        (place / name).write_bytes(packed)
        resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=place)) as http:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{http.server_port}/"])
        Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield pixels
        http.shutdown()


def test_what_is_missing_is_downloaded_silently_and_once(server, tmp_path, monkeypatch, capfd):
    root = tmp_path / "some" / "where"
    data = configured("mnist", root=str(root), batch_size=4)
    x, y = next(data.split("train", "cpu", 100))
    assert torch.equal(((x[:, 0] + 1) * 127.5).round().byte(), torch.from_numpy(server))
    assert y.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert [place.name for place in root.iterdir()] == ["MNIST"]
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [UNREACHABLE])
    configured("mnist", root=str(root), batch_size=4)


def test_a_download_that_fails_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [UNREACHABLE])
    with pytest.raises(ConfigError) as refusal:
        configured("mnist", root=str(tmp_path / "nowhere"))
    assert f"data.root={tmp_path / 'nowhere'} holds no MNIST" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_damaged_copy_is_named(server, tmp_path):
    configured("mnist", root=str(tmp_path), batch_size=4)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"MNIST is incomplete or damaged: delete it") as refusal:
        configured("mnist", root=str(tmp_path), batch_size=4)
    assert "\n" not in str(refusal.value)


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file"):
        configured("mnist", root=str(tmp_path / "file"))


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """CIFAR-10's layout with six images a file; returns the pixels of the training set, [30, 3, 32, 32]."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3072), dtype=np.uint8)

    def write(name: str, content: dict[str, Any]) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    files = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    sums = [[f, write(f, {"data": pixels[i], "labels": [i] * 6})] for i, f in enumerate(files)]
    names = {"label_names": [str(i) for i in range(10)]}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(
        datasets.CIFAR10, "meta", datasets.CIFAR10.meta | {"md5": write("batches.meta", names)}
    )
    return pixels[:5].reshape(30, 3, 32, 32)


def test_cifar_has_its_channels_first(cifar, tmp_path):
    data = configured("cifar10", root=str(tmp_path), batch_size=8, range=[0, 1])
    x, y = next(data.split("train", "cpu", 100))
    assert torch.equal((x * 255).round().byte(), torch.from_numpy(cifar))
    assert y.tolist() == [i // 6 for i in range(30)]
    assert next(data.split("test", "cpu", 100))[1].tolist() == [5] * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 7}, "data.num_classes=7"),
        ({"shape": [3, 28, 28]}, r"data.shape=\[3,28,28\] .* data.shape=\[1,28,28\]"),
        ({"batch_size": 13}, "batch_size=13 .* 12 "),
    ],
)
def test_contradictions_are_refused(server, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        configured("mnist", root=str(tmp_path), **({"batch_size": 4} | change))
