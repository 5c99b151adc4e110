"""Every mistake gets one line that says what to do, and leaves nothing behind."""

from pathlib import Path

import pytest
from conftest import error_line

from {{ cookiecutter.project_slug }}.train import main


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "--trainer.max_epoch", "3"], "--trainer.max_epoch"),  # shortened
        (["fit", "--model.lrr", "3"], "lrr"),  # misspelled
        (["fit", "--trainer.max_epochs", "three"], "trainer.max_epochs"),
        (["fit", "--trainer.devices", "99", "--trainer.accelerator", "cpu"], "--trainer.devices 99: this machine has"),
        (["fit", "--config", "configs/absent.yaml"], "absent.yaml"),
        (["test"], "--ckpt_path best: no run in runs yet; train first with `fit`"),
        (["fit", "--ckpt_path", "absent.ckpt"], "absent.ckpt: no such checkpoint"),
        (["fit", "--ckpt_path", "configs/train.yaml"], "configs/train.yaml: not a checkpoint"),
        (["fit", "--name", "a/b"], "--name a/b: must be the name of a folder"),
        (["predict", "--ckpt_path", "null"], "predictions need a trained model"),
        (["fit", "--data.path", "absent.csv"], "absent.csv"),
        (["fit", "--data.batch_size", "0"], "--data.batch_size 0: must be above 0"),
    ],
)
def test_mistake_gets_one_line_and_leaves_no_run(
    args: list[str], message: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_line(args, capsys)
    assert not list(Path(".").glob("runs/*"))


def test_missing_config_is_named_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"no configs.train\.yaml in this folder: go to the project's folder"):
        main(["fit"])
