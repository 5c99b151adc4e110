"""report.html and index.html: what they say, that they need no network, and that no name in them is HTML."""

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import QUICK

from {{ cookiecutter.project_slug }}.compare import main as compare
from {{ cookiecutter.project_slug }}.engine.panels import make_panels
from {{ cookiecutter.project_slug }}.engine.record import read_record, write_record
from {{ cookiecutter.project_slug }}.engine.report_page import LARGEST, write_report
from {{ cookiecutter.project_slug }}.engine.results import read_curves
from {{ cookiecutter.project_slug }}.train import main

EVIL = "<script>alert(1)</script>&\"'<img src=x onerror=alert(1)>"
VOID = {"br", "img", "meta", "circle", "path"}


class Page(HTMLParser):
    """A page that is read and checked: every tag is closed, and nothing comes from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open
        for tag, attributes in self.tags:
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
            for name in {"src", "href"} & attributes.keys():
                assert attributes[name].startswith("data:image/png;base64,") or self._exists(path, attributes[name])
        assert "@import" not in "".join(self.texts)

    def _exists(self, path: Path, address: str) -> bool:
        assert not re.match(r"\w+:|//", address), address
        return (path.parent / unquote(address)).exists()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def test_report_of_a_run_says_what_it_did(trained: Path) -> None:
    page = Page(trained / "report.html")
    for part in ("first", "finished", "val_loss", "fit --name first", "config.yaml", "train, mean", "Not tested yet"):
        assert part in page.text.replace("train, running mean", "train, mean"), part
    charts = [svg for svg in page.all("svg") if "aria-label" in svg]
    assert len(charts) == len({name.split("_", 1)[1] for name in read_curves(trained) if name.startswith("val_")})
    assert all(image["alt"] for image in page.all("img"))
    pictures = [path for path in trained.glob("*.png") if path.name != "curves.png"]
    assert len(page.all("img")) == len(pictures)


@pytest.mark.slow
def test_test_and_predict_refresh_the_report(trained: Path) -> None:
    main(["test", *QUICK])
    page = Page(trained / "report.html")
    assert "Not tested yet" not in page.text
    value = next(line for line in (trained / "metrics-test.csv").read_text().splitlines()[1:])
    assert any(f"{float(cell):.4g}" in page.texts for cell in value.split(",") if "." in cell)
    main(["predict", *QUICK])
    assert "The first rows of" in Page(trained / "report.html").text


def test_second_run_says_what_differs_from_the_first(trained: Path) -> None:
    second = Path("runs/second")
    second.mkdir()
    shutil.copy(trained / "run.json", second)
    (second / "config.yaml").write_text((trained / "config.yaml").read_text().replace("lr: 0.002", "lr: 0.5"))
    text = Page(write_report(second)).text
    assert "What differs from the previous run" in text
    assert "model.init_args.lr 0.002 0.5" in " ".join(text.split())
    assert re.search("The same: (code, )?data, versions, hardware", text)


def test_nothing_that_a_run_holds_is_html(trained: Path) -> None:
    folder = Path("runs", "evil" if os.name == "nt" else EVIL.replace("/", ""))
    shutil.copytree(trained, folder)
    record = read_record(folder)
    record["sessions"][0] |= {"command": ["fit", "--name", EVIL], "error": EVIL}
    write_record(folder, record | {"status": "failed", "data": {EVIL: EVIL}, "git": {"commit": EVIL, "dirty": True}})
    with (folder / "config.yaml").open("a") as file:
        file.write(f"evil: {json.dumps(EVIL)}\n")
    (folder / "metrics.csv").write_text(f"step,val_loss,val_{EVIL}\n0,1,2\n5,0.5,1\n".replace("&\"'", ""))
    (folder / "samples.txt").write_text(EVIL)
    (folder / f"{folder.name}.png").write_bytes(b"")
    (folder / "predictions.csv").write_text(f"row,{EVIL}\n1,{EVIL}\n".replace('"', ""))
    page = Page(write_report(folder))
    assert not page.all("script")
    assert "default-src 'none'" in page.all("meta")[1]["content"]
    assert EVIL in page.text
    compare(["--html"])
    index = Page(Path("runs/index.html"))
    assert len(index.all("script")) == 1
    assert folder.name in index.text


@pytest.mark.parametrize("lost", ["run.json", "metrics.csv", "config.yaml", "all"])
def test_report_does_without_what_is_missing(lost: str, trained: Path) -> None:
    for path in list(trained.iterdir()):
        if path.is_file() and lost in (path.name, "all"):
            path.unlink()
    page = Page(write_report(trained))
    assert "first" in page.text
    assert ("No metric was logged." in page.text) == (lost in ("metrics.csv", "all"))


def test_killed_run_without_validation_has_a_report(workdir: Path) -> None:
    folder = Path("runs/killed")
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,train_loss\n0,9,3.0\n0,19,2.0\n0,29,1.0\n0,3")
    write_record(folder, {"status": "running", "sessions": []})
    (folder / "config.yaml").write_text("best_checkpoint:\n  monitor: train_loss\n")
    page = Page(write_report(folder))
    assert {"running", "train, running mean", "train, single batches"} <= {*page.texts}


def test_long_run_with_many_metrics_makes_a_small_page(workdir: Path) -> None:
    folder = Path("runs/long")
    folder.mkdir(parents=True)
    names = [f"{stage}_m{number}" for number in range(100) for stage in ("train", "val")]
    lines = [f"{step}," + ",".join(f"{(step * 7919 + 13) % 1000 / 997:.6f}" for _ in names) for step in range(1500)]
    (folder / "metrics.csv").write_text("\n".join([f"step,{','.join(names)}", *lines]))
    (folder / "noise.png").write_bytes(bytes(LARGEST))
    page = write_report(folder)
    assert page.stat().st_size < 1_000_000
    assert len(Page(page).all("svg")) == 100


def test_training_and_validation_of_a_metric_share_a_panel() -> None:
    epochs = {9: 0.5, 19: 0.6}
    curves = {
        "val_accuracy": epochs,
        "train_accuracy": epochs,  # logged per epoch
        "train_loss": {4: 1.0, 9: 2.0, 14: 3.0},
        "train_loss_epoch": epochs,
        "val/loss": epochs,
        "lr-SGD": epochs,
    }
    loss, accuracy = make_panels(curves)
    assert (loss.metric, accuracy.metric) == ("loss", "accuracy")
    assert (loss.batches, loss.train, loss.val) == (curves["train_loss"], epochs, epochs)
    assert (accuracy.batches, accuracy.train, accuracy.val) == ({}, epochs, epochs)


def test_page_of_all_runs_links_to_reports_that_are_there(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained, Path("runs/sweep/0"))
    (trained / "report.html").unlink()
    capsys.readouterr()
    compare(["--html"])
    assert capsys.readouterr().out.splitlines() == [str(Path("runs/index.html"))]
    index = Page(Path("runs/index.html"))
    assert {link["href"] for link in index.all("a")} == {"first/report.html", "sweep/0/report.html"}
    assert len(index.all("svg")) == 2
    with pytest.raises(SystemExit, match="--html alone for a page of all"):
        compare(["--html", "first"])
