"""python -m ganlab.evaluate, of runs and of folders of images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from support.commands import play, summary
from support.refusals import refuses

from ganlab.cli import launch
from ganlab.config.build import build_data, instantiate_group
from ganlab.config.compose import compose
from ganlab.core.errors import UNSET, ConfigError
from ganlab.data.folder import EvaluationFolder
from ganlab.evaluate import evaluate
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.extractors import Classifier


def run_evaluate(*overrides: str) -> dict:
    return evaluate(compose(*overrides, config_name="evaluate"), overrides)


def save_images(folder: Path, n: int, seed: int, size: tuple[int, int] = (8, 8)) -> Path:
    """n smooth grey images as PNG."""
    folder.mkdir()
    chance = np.random.default_rng(seed)
    for i in range(n):
        small = Image.fromarray(chance.integers(0, 200 + 20 * seed, (4, 4), dtype=np.uint8))
        small.resize(size, Image.Resampling.BILINEAR).save(folder / f"{i}.png")
    return folder


def test_the_values_of_a_run_are_those_of_its_end_and_each_has_its_protocol(tmp_path: Path) -> None:
    run, output = tmp_path / "run", tmp_path / "found.json"
    at_end = play(run, "steps=6", "trick=ema")
    found = run_evaluate(
        f"run_dir={run}",
        "metric=[fid,is]",
        "n=100",
        "evaluation.n_real=60",
        f"output={output}",
        "checkpoint=last",
    )
    assert {name: record["value"] for name, record in found.items()} == at_end
    assert found == summary(run)["metrics"] == json.loads(output.read_text())
    record = found["fid/digits_train_100"]
    assert record["sampler"] == "ema"
    assert [record["better"], found["is/digits_100"]["better"]] == ["lower", "higher"]
    assert record["weights_sha256"] == Classifier.load("digits").sha256
    more = run_evaluate(f"run_dir={run}", "metric=[fid,prdc]", "n=100")
    assert set(more) == {
        f"{k}/digits_train_100" for k in ("fid", "precision", "recall", "density", "coverage")
    }
    assert more["fid/digits_train_100"]["n_real"] == 1437
    part = run_evaluate(
        f"run_dir={run}", "metric=fid", "n=60", "evaluation.split=test", "evaluation.n_real=100"
    )
    record = part["fid/digits_test_60"]
    assert (record["n_real"], record["split"], record["shape"]) == (100, "test", [1, 8, 8])
    chosen = [x for x, _ in build_data(compose()).subset("test", 100, "cpu", 50)]
    levels = ((torch.cat(chosen) + 1) / 2 * 255).round().byte().numpy().tobytes()
    assert record["reference_sha256"] == hashlib.sha256(levels).hexdigest()[:16]
    early = compose("metric=kid", "evaluation.split=test")
    with refuses("metric.kid.subset_size", 1000, "there are 360 real ones"):
        Evaluation(instantiate_group(early, "metric"), build_data(early), 2000, None, 0)
    with refuses("metric", reason="no metric is selected"):
        run_evaluate(f"run_dir={run}", "metric=none")


def test_a_run_is_measured_as_it_was_unless_a_metric_is_given(tmp_path: Path, capsys) -> None:
    for name, metric in (("none", "metric=none"), ("both", "metric=[is,neighbours]")):
        play(tmp_path / name, "steps=2", metric)
    both = [f"run_dir={tmp_path / 'both'}", "n=100"]
    capsys.readouterr()
    assert {*run_evaluate(*both)} == set(summary(tmp_path / "both")["metrics"])
    assert "metric is not given: measuring is, neighbours of the run\n" in capsys.readouterr().out
    assert {*run_evaluate(*both, "metric=fid")} == {"fid/digits_train_100"}
    assert "not given" not in capsys.readouterr().out
    for other in ("extractor=digits", "evaluation.split=test"):  # which the metrics of the run would ignore
        (name,) = run_evaluate(*both, other)
        assert name == f"fid/digits_{'test' if 'split' in other else 'train'}_100"
    assert {*run_evaluate(f"run_dir={tmp_path / 'none'}", "n=100")} == {"fid/digits_train_100"}
    assert "metric is not given: measuring fid\n" in capsys.readouterr().out


def test_one_class_of_a_conditional_run_is_measured_and_named(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=6", "trick=label_conditioning")
    measured = [f"run_dir={tmp_path / 'run'}", "metric=fid", "n=60"]
    every, third, even = (run_evaluate(*measured, *chosen) for chosen in ((), ("class=3",), ("class=even",)))
    name = "fid/digits_train_60"
    assert every[name]["classes"] == "as the reference"
    assert [found[name]["classes"] for found in (third, even)] == ["only 3", "evenly"]
    assert all("conditions" not in found[name] for found in (every, third, even))
    assert len({every[name]["value"], third[name]["value"], even[name]["value"]}) == 3
    for metric in ("one_nn", "classification_accuracy"):
        with refuses("class", 3, f"no effect on metric={metric}"):
            run_evaluate(*measured[:1], f"metric=[fid,{metric}]", "n=60", "class=3")
    with refuses("class", "10", "must be a number from 0 to 9"):
        run_evaluate(*measured, "class=10")
    with refuses("condition", "test", "told no image", "class=<name or number>"):
        run_evaluate(*measured, "condition=test")


def test_records_are_written_before_anything_is_printed(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    made, output = save_images(tmp_path / "made", 60, 0), tmp_path / "numbers.json"
    monkeypatch.setattr("ganlab.evaluate.print_records", fail)
    with pytest.raises(BrokenPipeError):
        run_evaluate(
            f"generated={made}", f"real={made}", "extractor=digits", "metric=[fid]", f"output={output}"
        )
    assert "fid/digits_train_60" in json.loads(output.read_text())


def test_folders_of_images_are_measured_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, real = save_images(tmp_path / "made", 60, 0), save_images(tmp_path / "real", 70, 1)
    output = tmp_path / "out" / "found.json"
    line = [f"generated={made}", f"real={real}", "metric=[fid]", "extractor=digits", f"output={output}"]
    monkeypatch.setattr("sys.argv", ["evaluate", *line])
    launch("evaluate", evaluate)
    assert "fid/digits_train_60" in capsys.readouterr().out
    record = json.loads(output.read_text())["fid/digits_train_60"]
    classifier = Classifier.load("digits").double()
    x, y = (
        classifier.features(torch.from_numpy(pixels(folder))[:, None].double() / 255).numpy()
        for folder in (real, made)
    )
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert record["value"] == pytest.approx(expected, rel=1e-5)
    assert (record["n_real"], record["n_fake"], record["sampler"]) == (70, 60, "images from files")


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])


def test_a_folder_is_measured_against_a_data_set(tmp_path: Path) -> None:
    made = save_images(tmp_path / "made", 60, 0)
    found = run_evaluate(f"generated={made}", "real=digits", "metric=[fid]", "extractor=digits")
    record = found["fid/digits_train_60"]
    assert (record["n_real"], record["floor_n"], record["floor_split"]) == (1437, 60, "test")
    assert record["floor"] < record["value"]


def test_a_folder_keeps_every_pixel_of_grey_colour_and_sixteen_bit_images(tmp_path: Path) -> None:
    grey = save_images(tmp_path / "grey", 3, 0, size=(7, 9))
    data = EvaluationFolder("real", str(grey))
    assert data.shape == (1, 9, 7)
    (x, _), *_ = data.split("train", "cpu", 10)
    assert torch.equal((x[:, 0] * 255).round().byte(), torch.from_numpy(pixels(grey)))
    (coloured, _), *_ = EvaluationFolder("real", str(grey), channels=3).split("train", "cpu", 10)
    assert torch.equal(coloured, x.expand(-1, 3, -1, -1))
    Image.new("RGB", (7, 9), (1, 1, 2)).save(grey / "z.png")
    (grey / "notes.txt").write_text("passed over")
    assert EvaluationFolder("real", str(grey)).shape == (
        3,
        9,
        7,
    )  # colours are kept, whichever file comes first
    side, lying = tmp_path / "side", Image.new("L", (9, 7), 50)
    side.mkdir()
    lying.save(side / "0.jpg", exif=orientation(6))
    assert EvaluationFolder("real", str(side)).shape == (1, 9, 7)
    deep = tmp_path / "deep"
    deep.mkdir()
    Image.fromarray(np.full((8, 8), 65535 // 5, np.uint16)).save(deep / "0.png")
    (x, _), *_ = EvaluationFolder("real", str(deep)).split("train", "cpu", 1)
    assert float(x[0, 0, 0, 0]) == pytest.approx(0.2)


def test_three_equal_channels_are_grey(tmp_path: Path) -> None:
    save_images(tmp_path / "grey", 60, 1)
    found = []
    for mode in (None, "RGB", "P", "RGBA"):
        folder = tmp_path / str(mode)
        folder.mkdir()
        for file in sorted((tmp_path / "grey").iterdir()):
            image = Image.open(file).convert("L")
            (image if mode is None else image.convert(mode)).save(folder / f"{file.stem}.png")
        assert EvaluationFolder("generated", str(folder)).shape[0] == 1
        found.append(
            torch.cat([x for x, _ in EvaluationFolder("generated", str(folder), 1).split("train", "cpu", 9)])
        )
    assert all(torch.equal(x, found[0]) for x in found)
    Image.new("RGB", (8, 8), (9, 9, 8)).save(tmp_path / "RGB" / "tinted.png")
    assert EvaluationFolder("generated", str(tmp_path / "RGB")).shape[0] == 3
    with pytest.raises(
        ConfigError, match=r"tinted.png has colours, and the images it is compared with have none"
    ):
        EvaluationFolder("generated", str(tmp_path / "RGB"), 1)


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def folders(home: Path) -> dict[str, Path]:
    """Folders of images, suitable ones and others, by name."""
    places = {"made": save_images(home / "made", 60, 0), "mixed": save_images(home / "mixed", 3, 0)}
    places["large"] = save_images(home / "large", 60, 0, size=(9, 9))
    Image.new("L", (9, 8)).save(places["mixed"] / "0.png")
    for name in ("coloured", "broken"):
        places[name] = home / name
        places[name].mkdir()
    Image.new("RGB", (8, 8), "red").save(places["coloured"] / "0.png")
    (places["broken"] / "0.png").write_bytes(b"no image")
    return places


@pytest.mark.parametrize(
    ("line", "key", "value", "reason"),
    [
        ("", "run_dir", None, "exactly one of a run and generated images"),
        ("run_dir=nowhere generated={made} real={made}", "run_dir", "nowhere", "exactly one of"),
        ("generated={made}", "real", UNSET, "missing"),
        ("generated={made} real=digits", "extractor", UNSET, "missing"),
        (
            "generated={made} real=letters extractor=digits",
            "real",
            "letters",
            "neither a folder nor a data set",
        ),
        ("generated=nowhere real={made} extractor=digits", "generated", "nowhere", "not a folder"),
        (
            "generated={large} real={made} extractor=digits",
            "generated",
            UNSET,
            "9x9, but the real ones are 8x8",
        ),
        ("generated={made} real={made} metric=one_nn", "metric", "one_nn", "needs a game"),
        ("generated={made} real=digits metric=linear_probe", "metric", "linear_probe", "needs a game"),
        ("generated={made} real=ring extractor=digits", "real", "ring", "not a data set of images"),
        ("generated={made} real={made} extractor=digits root=there", "root", UNSET, "with real, a folder"),
        (
            "generated={made} real={made} extractor=digits evaluation.n=7",
            "evaluation.n",
            UNSET,
            "with generated",
        ),
        (
            "generated={made} real=digits extractor=digits protocol=ttur",
            "generated",
            UNSET,
            "60 images, .* 50000",
        ),
        ("run_dir=nowhere protocol=kid n=100", "n", UNSET, "has no effect with protocol"),
        (
            "generated={made} real={made} extractor=digits device=nonsense",
            "device",
            "nonsense",
            "not available",
        ),
        ("generated={made} real={made} extractor=digits device=meta", "device", "meta", "not available"),
        ("generated={made} real={made} extractor=mnist", "extractor", "mnist", r"of shape \[1, 28, 28\]"),
        (
            "generated={made} real={made} extractor=digits metric=[kid]",
            "metric.kid.subset_size",
            1000,
            "there are 60 real ones",
        ),
        (
            "generated={made} real=digits extractor=digits seed=3",
            "seed",
            UNSET,
            "has no effect with generated",
        ),
        ("run_dir=nowhere real=digits", "real", UNSET, "has no effect with run_dir"),
    ],
)
def test_unsuitable_settings_are_refused(
    line: str, key: str, value: Any, reason: str, tmp_path: Path
) -> None:
    with refuses(key, value, reason):
        run_evaluate(*line.format(**folders(tmp_path)).split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run_dir=nowhere", "nowhere"),
        (
            "generated={coloured} real={made} extractor=digits",
            "has colours, and the images it is compared with have none",
        ),
        ("generated={broken} real={made} extractor=digits", "0.png.* cannot be read as an image"),
        ("run_dir=nowhere device=nonsense", "nowhere"),
        ("generated={mixed} real={made} extractor=digits", "1.png.* is 8x8, but .*0.png is 9x8"),
        ("generated={made} real={made} extractor=digits metric=none", "no metric uses it"),
        ("run_dir=nowhere n=0", "n=0.* must be a whole number of at least 1"),
        (
            "generated={made} real=digits extractor=digits metric.weights=w.pth",
            "metric.weights=w.pth.* has no effect",
        ),
        ("run_dir=nowhere extractor=digits metric=parzen", "extractor.* has no effect"),
    ],
)
def test_unusable_runs_images_and_extractors_are_refused(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        run_evaluate(*line.format(**folders(tmp_path)).split())


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    made = save_images(tmp_path / "made", 60, 0)
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "values.json"
    given = [f"generated={made}", f"real={made}", "extractor=digits", "metric=[fid]", f"output={output}"]
    with refuses("output", str(output), "cannot be written", "choose another"):
        run_evaluate(*given)


@pytest.mark.parametrize("name", ["table.txt", "summary.json", "profile.json", "folder.json"])
def test_other_files_are_never_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    given = ["run_dir=no/matter", f"output={tmp_path / name}"]
    with refuses("output", str(tmp_path / name), "must be a file that ends in .json"):
        evaluate(compose(*given, config_name="evaluate"), given)
