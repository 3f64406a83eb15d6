"""MNIST, Fashion-MNIST and CIFAR-10: the real files, if they are there, and small ones of their formats."""

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
from support.refusals import refuses
from torchvision import datasets

from ganlab.core.errors import ConfigError
from ganlab.data.vision import Vision

REAL = Path("../shared/data")
real = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is not there")
UNREACHABLE = "http://127.0.0.1:9/"


def from_config(name: str, **changes: Any) -> Vision:
    facts = OmegaConf.to_container(OmegaConf.load(f"conf/data/{name}.yaml")) | changes
    return Vision(**{key: value for key, value in facts.items() if key not in ("_target_", "defaults")})


@real
def test_mnist_is_mnist():
    data = from_config("mnist", root=str(REAL))
    assert len(data) == 60_000
    x, y = next(data.split("train", "cpu", 60_000))
    assert x.shape == (60_000, 1, 28, 28)
    assert y[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs((x.mean().item() + 1) / 2 - 0.1307) < 5e-5
    assert len(next(data.split("test", "cpu", 60_000))[0]) == 10_000


@real
def test_fashion_mnist_is_fashion_mnist():
    data = from_config("fashion_mnist", root=str(REAL), range=[0, 1])
    x, _ = next(data.split("train", "cpu", 60_000))
    assert abs(x.mean().item() - 0.2860) < 5e-5


def idx(array: np.ndarray) -> bytes:
    """The file format of MNIST: two zeros, the type, the number of axes, their lengths, the bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Prints nothing."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server of twelve random images in MNIST's format, from which torchvision downloads."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    labels = (np.arange(12) % 10).astype(np.uint8)
    folder = tmp_path / "server"
    folder.mkdir()
    resources = []
    for name, _ in datasets.MNIST.resources:
        packed = gzip.compress(idx(pixels if "images" in name else labels))
        (folder / name).write_bytes(packed)
        resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder)) as http:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{http.server_port}/"])
        Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield pixels
        http.shutdown()


def test_missing_data_are_downloaded_silently_and_once(server, tmp_path, monkeypatch, capfd):
    root = tmp_path / "some" / "where"
    data = from_config("mnist", root=str(root), batch_size=4)
    x, y = next(data.split("train", "cpu", 100))
    assert torch.equal(((x[:, 0] + 1) * 127.5).round().byte(), torch.from_numpy(server))
    assert y.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [UNREACHABLE])
    from_config("mnist", root=str(root), batch_size=4)


def test_a_failed_download_is_refused_in_one_line_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [UNREACHABLE])
    with pytest.raises(ConfigError) as refusal:
        from_config("mnist", root=str(tmp_path / "nowhere"))
    error = refusal.value
    assert (error.key, error.value) == (".root", str(tmp_path / "nowhere"))
    assert error.reason.startswith("does not contain MNIST, and downloading it failed (")
    assert (
        error.remedy
        == "put torchvision's folder MNIST into it, or set the root to the folder that contains it"
    )
    assert "\n" not in str(error)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_damaged_copy_is_refused_by_name(server, tmp_path):
    from_config("mnist", root=str(tmp_path), batch_size=4)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:1000])
    with refuses(".root", str(tmp_path), "MNIST is incomplete or damaged$", "^delete it"):
        from_config("mnist", root=str(tmp_path), batch_size=4)


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with refuses(".root", str(tmp_path / "file"), "is a file"):
        from_config("mnist", root=str(tmp_path / "file"))


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
    data = from_config("cifar10", root=str(tmp_path), batch_size=8, range=[0, 1])
    x, y = next(data.split("train", "cpu", 100))
    assert torch.equal((x * 255).round().byte(), torch.from_numpy(cifar))
    assert y.tolist() == [i // 6 for i in range(30)]
    assert next(data.split("test", "cpu", 100))[1].tolist() == [5] * 6


@pytest.mark.parametrize(
    ("key", "value", "reason", "remedy"),
    [
        ("num_classes", 7, "contradicts the data", "set it to 10"),
        ("shape", [3, 28, 28], "contradicts the data", r"set it to \[1,28,28\]"),
        ("batch_size", 13, "exceeds the 12 training samples", "lower it"),
    ],
)
def test_settings_that_contradict_the_data_are_refused(server, tmp_path, key, value, reason, remedy):
    with refuses(f".{key}", value, reason, remedy):
        from_config("mnist", root=str(tmp_path), **({"batch_size": 4} | {key: value}))
