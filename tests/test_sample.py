"""The sample command and the images that it writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.commands import play
from support.image_folders import write_image
from support.refusals import refuses

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.config.load import load
from ganlab.core.errors import ConfigError
from ganlab.metrics.extractors import Classifier
from ganlab.metrics.features import round_to_256_levels
from ganlab.run import run
from ganlab.sample import sample
from ganlab.visualize.images import BACKGROUND, grid, to_images
from ganlab.visualize.views import slerp


def draw(run_dir: Path, *overrides: str) -> Path:
    given = [f"run_dir={run_dir}", *overrides]
    return sample(compose(*given, config_name="sample"), given)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "conditional"
    play(path, "steps=2", "trick=[label_conditioning,ema]")
    return path


def test_a_grid_depends_on_the_seed_and_the_class(conditional: Path, tmp_path: Path) -> None:
    def pixels(*overrides: str) -> np.ndarray:
        return np.asarray(Image.open(draw(conditional, "n=9", f"output={tmp_path / 'grid.png'}", *overrides)))

    assert np.array_equal(pixels(), pixels())
    assert not np.array_equal(pixels(), pixels("seed=1"))
    assert not np.array_equal(pixels("class=3"), pixels("class=4"))
    assert draw(conditional).parent == conditional / "samples"


def test_single_images(conditional: Path, tmp_path: Path) -> None:
    folder = draw(conditional, "n=3", "format=files", f"output={tmp_path / 'single'}")
    assert [path.name for path in sorted(folder.iterdir())] == ["00000_0.png", "00001_1.png", "00002_2.png"]
    assert Image.open(folder / "00000_0.png").size == (8, 8)


def test_points_are_scattered(tmp_path: Path) -> None:
    play(tmp_path / "ring", "data=ring", "steps=2", "model.generator.batch_norm=false")
    width, height = Image.open(draw(tmp_path / "ring")).size
    assert width == 400
    assert height in (459, 460)  # Matplotlib 3.8 rounds 4.6 inches down
    with refuses(reason=r"samples of shape \[2\] are not images", remedy="what=grid"):
        draw(tmp_path / "ring", "format=files")


@pytest.fixture(scope="module")
def points(tmp_path_factory) -> Path:
    """A run without classes, which has made two sample grids."""
    path = tmp_path_factory.mktemp("runs") / "plain"
    play(path, "steps=4", "sample_every=2", "model.generator.latent_dim=6")
    return path


def tiles(path: Path, size: int = 8, scale: int = 4) -> list[list[np.ndarray]]:
    """The grey images of a grid, row by row, at their original size."""
    pixels = np.asarray(Image.open(path))[::scale, ::scale, 0]
    step = size + 2
    return [
        [pixels[top : top + size, left : left + size] for left in range(2, pixels.shape[1] - size, step)]
        for top in range(2, pixels.shape[0] - size, step)
    ]


def levels(x: torch.Tensor) -> np.ndarray:
    return ((x + 1) / 2 * 255).round().clamp(0, 255).byte().numpy()[:, 0]


def test_neighbours_are_the_nearest_training_images_below_their_samples(points: Path) -> None:
    rows = tiles(draw(points, "what=neighbours", "n=6", "columns=4"))
    assert [len(row) for row in rows] == [4, 4, 4, 4]
    samples, (train, _) = load(points).sample(6), next(build_data(compose()).split("train", "cpu", 2000))
    gap = (samples[:, None] - train[None]).square().flatten(2).sum(2)
    expected = train[gap.argmin(1)]
    for i in range(6):
        row, column = divmod(i, 4)
        assert np.array_equal(rows[2 * row][column], levels(samples)[i])
        assert np.array_equal(rows[2 * row + 1][column], levels(expected)[i])


def test_neighbours_in_features_use_the_extractor_of_the_run(points: Path, tmp_path: Path, capsys) -> None:
    path = draw(points, "what=neighbours", "space=features", "n=40")
    assert path.name == "0000004_n40_seed0_neighbours_features.png"
    printed = capsys.readouterr().out
    samples, (train, _) = load(points).sample(40), next(build_data(compose()).split("train", "cpu", 2000))
    classifier = Classifier.load("digits").double()
    features = [classifier.features(round_to_256_levels(((x + 1) / 2).clamp(0, 1))) for x in (samples, train)]
    gap = (features[0][:, None] - features[1][None]).square().sum(2).sqrt()
    expected = levels(train[gap.argmin(1)])
    rows = tiles(path)
    for i in range(40):
        row, column = divmod(i, 8)
        assert np.array_equal(rows[2 * row][column], levels(samples)[i])
        assert np.array_equal(rows[2 * row + 1][column], expected[i])
    in_pixels = (samples[:, None] - train[None]).square().flatten(2).sum(2).argmin(1)
    assert (in_pixels != gap.argmin(1)).any()
    median = float(gap.amin(1).median())
    assert f"in the features of 'digits', by Euclidean distance: median {median:.3f}" in printed
    draw(points, "what=neighbours", "n=2")
    assert "in pixels, by the root of the mean squared difference: median" in capsys.readouterr().out


def test_neighbours_in_other_data_than_the_run_s_give_a_warning(points: Path, tmp_path: Path, capsys) -> None:
    draw(points, "what=neighbours", "n=2")
    assert capsys.readouterr().err == ""
    shutil.copytree(points, tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text('{"data_sha256": "another"}')
    draw(tmp_path / "run", "what=neighbours", "n=2")
    assert capsys.readouterr().err == "the run was trained on different data\n"


def test_neighbours_in_features_need_an_extractor_that_takes_the_images(points: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(points, foreign)
    cfg = OmegaConf.load(foreign / "config.yaml")
    reasons = {"mnist": "takes images of shape", None: "this run has no extractor"}
    for name, reason in reasons.items():
        cfg.extractor = name and {"_target_": "ganlab.metrics.extractors.classifier", "name": name}
        OmegaConf.save(cfg, foreign / "config.yaml")
        with refuses("space", "features", reason, "choose space=pixels"):
            draw(foreign, "what=neighbours", "space=features")


def test_neighbours_in_features_at_the_end_of_a_run(tmp_path: Path) -> None:
    path, view = tmp_path / "run", "{what:neighbours,space:features,n:8}"
    with refuses("views[1].space", "features", "extractor mnist takes images of shape"):
        play(path, "metric=none", "extractor=mnist", f"views=[grid,{view}]", "steps=2")
    assert not path.exists()
    play(path, "metric=none", f"views=[neighbours,{view}]", "steps=2")
    for name in ("0000002_n8_seed0_neighbours_features.png", "0000002_n64_seed0_neighbours.png"):
        assert (path / "samples" / name).is_file()
    at_end = (path / "samples" / "0000002_n8_seed0_neighbours_features.png").read_bytes()
    again = draw(path, "what=neighbours", "space=features", "n=8", f"output={tmp_path / 'again.png'}")
    assert again.read_bytes() == at_end


@pytest.mark.parametrize("path", ["lerp", "slerp"])
def test_rows_interpolate_between_two_samples(path: str, points: Path) -> None:
    rows = tiles(draw(points, "what=interpolate", "n=15", "columns=5", f"path={path}"))
    game = load(points)
    latents = game.latents(6)
    assert [len(row) for row in rows] == [5, 5, 5]
    for i, row in enumerate(rows):
        a, b = latents[2 * i], latents[2 * i + 1]
        middle = (a + b) / 2
        if path == "slerp":  # halfway lies on the bisector, at a length between theirs
            middle = middle / torch.cos(torch.arccos(a @ b / a.norm() / b.norm()) / 2)
        expected = levels(game.generate_in_eval_mode(torch.stack([a, middle, b])).detach())
        for shown, image in zip((row[0], row[2], row[4]), expected, strict=True):
            assert np.abs(shown.astype(int) - image).max() <= 1


def test_slerp_of_collinear_latents_is_linear() -> None:
    a = torch.tensor([1.0, 2.0])
    shares = torch.tensor([[0.0], [0.25], [1.0]])
    assert torch.allclose(slerp(a, 3 * a, shares), torch.stack([a, 1.5 * a, 3 * a]))
    assert slerp(a, -a, shares).isfinite().all()


def test_great_circles_are_for_normal_latents(tmp_path: Path, capsys) -> None:
    play(tmp_path / "run", "steps=1", "model/prior@model.generator.prior=uniform")
    draw(tmp_path / "run", "what=interpolate")
    assert "by lerp" in capsys.readouterr().out
    with refuses("path", "slerp", "leave the latents of Uniform", "path=lerp"):
        draw(tmp_path / "run", "what=interpolate", "path=slerp")


def test_slerp_keeps_the_norm() -> None:
    a, b = torch.tensor([3.0, 0, 0]), torch.tensor([0, 0, 3.0])
    path = slerp(a, b, torch.linspace(0, 1, 7)[:, None])
    assert torch.allclose(path.norm(dim=1), torch.full((7,), 3.0))
    assert torch.allclose(path[2], 3 * torch.tensor([3**0.5 / 2, 0, 0.5]))


def test_arithmetic_shows_its_terms_and_the_result(points: Path) -> None:
    (row,) = tiles(draw(points, "what=arithmetic", "n=9", "plus=[2,7]", "minus=[4]"))
    game = load(points)
    latents = game.latents(9)
    expected = torch.stack([latents[2], latents[7], latents[4], latents[2] + latents[7] - latents[4]])
    for shown, image in zip(row, levels(game.generate_in_eval_mode(expected).detach()), strict=True):
        assert np.abs(shown.astype(int) - image).max() <= 1


def test_training_is_animated(points: Path) -> None:
    animation = Image.open(draw(points, "what=animate"))
    assert animation.n_frames == 2
    assert animation.size == Image.open(points / "samples" / "0000004.png").size


def test_a_class_holds_in_every_view(conditional: Path) -> None:
    for what in ("interpolate", "arithmetic"):
        same = [
            np.asarray(Image.open(draw(conditional, f"what={what}", f"class={label}"))) for label in (3, 3, 4)
        ]
        assert np.array_equal(same[0], same[1])
        assert not np.array_equal(same[0], same[2])


@pytest.mark.parametrize(
    ("line", "key", "reason"),
    [
        ("path=slerp", "path", "has no effect with what=grid"),
        ("what=animate n=3", "n", "has no effect with what=animate"),
        ("what=interpolate space=features", "space", "has no effect with what=interpolate"),
        ("what=arithmetic plus=[64]", "plus", "must be indices of samples in a grid of n=64, from 0 to 63"),
        ("n=2000000", "n", r"samples of shape \[1, 8, 8\] do not fit into memory, with columns=8"),
        ("class=10", "class", "must be a number from 0 to 9"),
        ("run_dir=null", "run_dir", "is missing"),
    ],
)
def test_options_that_a_view_cannot_use_are_refused(
    line: str, key: str, reason: str, conditional: Path
) -> None:
    with refuses(key, reason=reason):
        draw(conditional, *line.split())


@pytest.mark.parametrize(
    ("line", "key", "reason"),
    [
        ("what=film", "what", "must be one of grid, neighbours, reconstructions"),
        ("what=neighbours space=latents", "space", "must be one of pixels, features"),
        ("what=interpolate path=bezier", "path", "must be one of slerp, lerp"),
        ("what=interpolate columns=1", "columns", "must be a whole number of at least 2 and at most 1000"),
        ("what=arithmetic plus=[]", "plus", "must be a list of 1 or more"),
        ("n=0", "n", "must be a whole number of at least 1"),
        ("n=100000000000", "n", "must be a whole number of at least 1 and at most"),
        ("what=interpolate columns=99999999999", "columns", "must be a whole number"),
        ("seed=-1", "seed", "must be a whole number of at least 0"),
        ("format=gif", "format", "must be one of grid, files"),
    ],
)
def test_options_out_of_their_range_are_refused(line: str, key: str, reason: str) -> None:
    with refuses(key, reason=reason):
        compose(*line.split(), config_name="sample")


def test_a_missing_checkpoint_is_refused(conditional: Path) -> None:
    with pytest.raises(ConfigError, match="lost.ckpt"):
        draw(conditional, "checkpoint=lost.ckpt")


def test_a_grid_shows_each_sample_in_its_place() -> None:
    samples = torch.full((5, 1, 8, 10), -1.0)
    samples[3] = 1.0
    shown = np.asarray(grid(samples, (-1, 1), columns=3))
    scale = 4
    assert shown.shape == ((2 * 10 + 2) * scale, (3 * 12 + 2) * scale, 3)
    assert (shown[12 * scale : 20 * scale, 2 * scale : 12 * scale] == 255).all()
    assert (shown[2 * scale : 10 * scale, 2 * scale : 12 * scale] == 0).all()
    assert (shown[:8] == BACKGROUND).all()


def test_levels_and_colours() -> None:
    samples = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    (image,) = to_images(samples, (-1, 1))
    assert image.getpixel((0, 0)) == (0, 128, 255)
    assert grid(torch.rand(4, 3, 8, 8), (0, 1), columns=2).mode == "RGB"


NAMES = ["zero", "one", "two/three", "3", "4", "2", "7", "seven", "eight", "nine"]


@pytest.fixture(scope="module")
def named(conditional: Path, tmp_path_factory) -> Path:
    """A run whose classes have names, some of which are the numbers of other classes."""
    path = tmp_path_factory.mktemp("runs") / "named"
    shutil.copytree(conditional, path)
    config = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(config.replace("class_names: null", f"class_names: {NAMES}"))
    return path


@pytest.mark.parametrize(
    ("typed", "label"), [("zero", 0), ("one", 1), ("2", 5), ("3", 3), ("7", 6), ("8", 8), ("'two/three'", 2)]
)
def test_a_class_is_given_by_its_name(typed: str, label: int, named: Path, tmp_path, capsys) -> None:
    folder = draw(named, f"class={typed}", "n=2", "format=files", f"output={tmp_path / 'out'}")
    name = NAMES[label].replace("/", "_")
    assert sorted(path.name for path in folder.iterdir()) == [f"00000_{name}.png", f"00001_{name}.png"]
    assert f"2 samples at step 2, class {label} named {NAMES[label]}" in capsys.readouterr().out
    expected = levels(load(named).sample(2, conditions=label))
    assert np.array_equal(np.asarray(Image.open(folder / f"00001_{name}.png")), expected[1])


def test_file_names_hold_class_names(named: Path) -> None:
    assert draw(named, "class=one", "n=2").name == "0000002_n2_seed0_class1_one.png"
    assert draw(named, "class=0", "what=interpolate").name == "0000002_n64_seed0_class0_zero_interpolate.png"
    folder = draw(named, "n=12", "format=files")
    expected = [f"{i:05d}_{NAMES[i % 10].replace('/', '_')}.png" for i in range(12)]
    assert [path.name for path in sorted(folder.iterdir())] == expected


@pytest.mark.parametrize("typed", ["ten", "10", "-1", "1.0", "true"])
def test_the_refusal_of_an_unknown_class_lists_the_known_ones(typed: str, named: Path) -> None:
    message = f"class={typed}: must be a number from 0 to 9, or one of zero, one, two/three, 3, 4, 2, 7"
    with pytest.raises(ConfigError, match=message):
        draw(named, f"class={typed}")


def test_a_class_is_refused_for_a_game_without_classes(points: Path) -> None:
    with pytest.raises(ConfigError, match="class=cat"):
        draw(points, "class=cat")


def test_samples_are_never_mixed_with_other_files(points: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fakes"
    draw(points, "format=files", "n=5", f"output={folder}")
    held = {path.name: path.read_bytes() for path in folder.iterdir()}
    for n in (3, 5, 9):
        with refuses("output", folder, "a new or empty folder"):
            draw(points, "format=files", f"n={n}", "seed=1", f"output={folder}")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == held
    (tmp_path / "empty").mkdir()
    assert len(list(draw(points, "format=files", "n=2", f"output={tmp_path / 'empty'}").iterdir())) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("format=files output={}/note.txt", "must be a new or empty folder"),
        ("format=files output={}/new.png", "not named like an image"),
        ("output={}/folder.png", "must be a file that ends in .png"),
        ("output={}", "must be a file that ends in .png"),
        ("output={}/x.jpg", "must be a file that ends in .png"),
        ("output={}/note.txt", "must be a file that ends in .png"),
        ("what=neighbours output={}/x", "must be a file that ends in .png"),
        ("what=animate output={}/x.png", "must be a file that ends in .gif"),
        ("output={}/samples/0000004.png", "not a sample grid of the run"),
    ],
)
def test_an_output_of_another_kind_is_refused(line: str, reason: str, points: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    with refuses("output", reason=reason, remedy="choose another"):
        draw(points, *line.format(tmp_path).split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "note.txt"]


@pytest.mark.parametrize(
    "line",
    [
        "n=100000000000",
        "n=100000000000 format=files",
        "what=interpolate columns=10000000",
        "what=neighbours n=2 columns=10000000",
    ],
)
def test_more_images_than_fit_into_memory_are_refused(line: str, points: Path) -> None:
    with pytest.raises(ConfigError, match="do not fit into memory|and at most"):
        draw(points, *line.split())


def test_one_image_is_not_an_animation(conditional: Path, tmp_path: Path) -> None:
    with refuses("what", "animate", "two sample grids of the run, and .* has 1", "a lower sample_every"):
        draw(conditional, "what=animate")
    with refuses("views[0].what", "animate", "two images, and sample_every=2 makes one"):
        play(tmp_path / "run", "steps=2", "sample_every=2", "views=[animate]")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("view", "key", "reason"),
    [
        ("{what:grid,class:10}", "views[1].class", "must be a number from 0 to 9"),
        ("{what:arithmetic,n:4,plus:[4]}", "views[1].plus", "in a grid of n=4"),
        ("{what:grid,columns:9}", "views[1].columns", "has no effect with what=grid"),
        ("{what:neighbours,columns:1}", "views[1].columns", "at least 2"),
        ("reconstructions", "views[1].what", "needs an encoder"),
        ("{what:grid,format:files}", "views[1].format", "has no effect at the end of a run"),
    ],
)
def test_the_refusal_of_a_view_at_the_end_of_a_run_names_its_option(
    view: str, key: str, reason: str, tmp_path: Path
) -> None:
    with refuses(key, reason=reason):
        play(tmp_path / "run", "steps=2", "trick=label_conditioning", f"views=[grid,{view}]")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("views", ["3", "[3]", "[grid,[grid]]"])
def test_views_are_names_or_mappings(views: str) -> None:
    with refuses("views", reason="must be a string or a list, each a string or a mapping"):
        compose(f"views={views}")


@pytest.mark.parametrize("model", ["vae_gan", "ali"])
def test_reconstructions_are_below_their_test_images(model: str, tmp_path: Path) -> None:
    # An encoder does not receive the class, but a conditional generator does.
    label = ["trick=label_conditioning"] if model == "ali" else []
    play(tmp_path / "run", f"model={model}", "steps=2", "views=[{what:reconstructions,n:6}]", *label)
    path = draw(tmp_path / "run", "what=reconstructions", "n=6", "columns=4")
    assert path.name == "0000002_n6_seed0_reconstructions.png"
    rows, made = tiles(path), load(tmp_path / "run")
    x, labels = next(build_data(compose()).split("test", "cpu", 6))
    decoded = made.generate_in_eval_mode(made.encode(x), labels if label else None).detach()
    for i in range(6):
        row, column = divmod(i, 4)
        assert np.array_equal(rows[2 * row][column], levels(x)[i])
        assert np.array_equal(rows[2 * row + 1][column], levels(decoded)[i])


def test_a_game_without_an_encoder_has_no_reconstructions(points: Path) -> None:
    with refuses("what", "reconstructions", "needs an encoder", "model=vae"):
        draw(points, "what=reconstructions")


def test_views_of_images_are_refused_for_points(tmp_path: Path) -> None:
    with refuses("views[0].what", "neighbours", "is for images"):
        play(tmp_path / "run", "data=ring", "steps=2", "metric=none", "views=[neighbours]")


def test_an_animation_of_broken_images_and_of_other_sizes(points: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(points, run)
    Image.new("L", (40, 30)).save(run / "samples" / "0000001.png")
    animation = Image.open(draw(run, "what=animate"))
    assert (animation.n_frames, animation.size) == (3, Image.open(run / "samples" / "0000004.png").size)
    (run / "samples" / "0000003.png").write_text("no picture")
    with refuses(reason="0000003.png", remedy="remove this sample grid of the run"):
        draw(run, "what=animate")


def test_the_data_of_a_run_may_have_moved(points: Path, tmp_path: Path, capsys) -> None:
    for split in ("train", "test"):
        for i in range(16):
            write_image(tmp_path / "old" / split / f"{i}.png", i, (8, 16))
    sizes = ["data.height=8", "data.width=8", "data.num_workers=0", "data.batch_size=4"]
    small = ["model=pix2pix_small", "model.generator.halvings=1", "model.generator.width=4", "metric=none"]
    run_dir = tmp_path / "run"
    given = [*sizes, *small, "data=paired_folder", f"data.root={tmp_path / 'old'}", "logger=csv", "steps=2"]
    run(compose(*(given := [*given, f"run_dir={run_dir}"])), given)
    before = np.asarray(Image.open(draw(run_dir, "n=4")))
    moved = (tmp_path / "old").rename(tmp_path / "new")
    with refuses("data.root", str(tmp_path / "old"), "not a folder"):
        draw(run_dir, "n=4")
    assert np.array_equal(np.asarray(Image.open(draw(run_dir, "n=4", f"root={moved}"))), before)
    draw(run_dir, "n=4", f"root={moved}", "what=neighbours")
    draw(run_dir, "n=4", f"root={moved}", "condition=train", f"output={tmp_path / 'of_train.png'}")
    assert capsys.readouterr().err == ""
    write_image(moved / "test" / "0.png", 99, (8, 16))
    draw(run_dir, "n=4", f"root={moved}", "what=neighbours")
    assert capsys.readouterr().err == "the run was trained on different data\n"  # said once
    for reading_none in (run_dir, f"condition={moved / 'test'}"), (points,), (points, "what=interpolate"):
        with refuses("root", str(moved), "has no effect: .* reads no data", "remove it"):
            draw(*reading_none, f"root={moved}")
    with refuses("root", str(moved), "has no effect with what=animate"):
        draw(points, "what=animate", f"root={moved}")


def test_points_with_a_range_are_scattered(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(64)))
    table = ["data=table", f"data.path={tmp_path / 'table.csv'}", "data.shape=[2]", "data.range=[-1,1]"]
    play(tmp_path / "run", *table, "steps=2", "metric=none", "data.batch_size=8")
    width, height = Image.open(draw(tmp_path / "run")).size
    assert (width, height in (459, 460)) == (400, True)  # older versions of matplotlib round down
