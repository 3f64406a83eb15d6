from pathlib import Path

from ganlab.training.callbacks.record import MetricsFile


def test_a_new_scalar_adds_a_column(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    file.append({"step": 1, "images": 64, "a": 0.1})
    file.append({"step": 2, "images": 128, "a": 0.2, "b": 1e-30})
    file.append({"step": 3, "images": 192, "b": float("nan")})
    assert file.path.read_text() == "step,images,a,b\n1,64,0.1,\n2,128,0.2,1e-30\n3,192,,nan\n"


def test_cut_drops_later_rows_and_an_incomplete_one(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    for step in range(1, 6):
        file.append({"step": step, "images": step, "a": step / 10})
    whole = file.path.read_text()
    with file.path.open("a") as stream:
        stream.write("6,6,0.")
    file.drop_after(5)
    assert file.path.read_text() == whole
    with file.path.open("a") as stream:
        stream.write("1")  # the first digit of 10
    file.drop_after(5)
    assert file.path.read_text() == whole
    file.drop_after(3)
    assert file.path.read_text().splitlines()[-1] == "3,3,0.3"
    MetricsFile(tmp_path / "absent.csv").drop_after(3)
