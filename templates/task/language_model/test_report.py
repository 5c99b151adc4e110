"""The samples of a validation."""

from pathlib import Path

import torch

from lit_project.train import main

QUICK = ["--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu", "--trainer.limit_train_batches", "3"]
SMALL = ["--model.layers", "1", "--model.width", "16", "--trainer.limit_val_batches", "2"]


def test_run_leaves_its_report(workdir: Path) -> None:
    main(["fit", "--name", "first", *QUICK, *SMALL, "--data.prompts", '["A class"]', "--data.new_tokens", "20"])
    untrained, trained = Path("runs/first/samples.txt").read_text(encoding="utf-8").split("=== step ")[1:]
    assert untrained.startswith("0\nA class")
    assert trained.startswith("3\nA class")
    assert len(untrained.removeprefix("0\nA class").removesuffix("\n\n")) == 20


def test_report_leaves_the_random_state_alone(workdir: Path) -> None:
    for name, new_tokens in (("a", "1"), ("b", "9")):
        main(["fit", "--name", name, *QUICK, *SMALL, "--data.new_tokens", new_tokens, "--model.dropout", "0.5"])
    a, b = (torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for name in "ab")
    assert all(torch.equal(a[key], b[key]) for key in a)
