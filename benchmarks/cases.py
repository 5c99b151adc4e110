"""What is compared with what, and the goals."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from measure import HERE, NAME, REPO, Program, Run, fit, paths, render
from switches import TRICKS

HAND = HERE / "by_hand"
Side = Callable[[], Run]


@dataclass(frozen=True)
class Case:
    """Programs that do the same, and the ratios of their times.

    Args:
        title: What it is, for the table.
        how: How it is measured, for the table.
        sides: The programs, as functions that run them once.
        ratios: Numerator and denominator of every ratio; the first is what the goal is about.
        goal: What the first ratio should be.
        goal_is: Whether the goal is the least or the most that it should be.
        tolerance: How far the median losses of two sides may be apart.
        same_batches: Two runs that train on the same batches, whose losses must agree to 1 %.
        keep_order: Whether a side depends on the one before.
    """

    title: str
    how: str
    sides: dict[str, Side]
    ratios: dict[str, tuple[str, str]]
    goal: float | None = None
    goal_is: Literal["least", "most"] = "least"
    tolerance: float | None = None
    same_batches: tuple[Side, Side] | None = field(default=None, repr=False)
    keep_order: bool = False


class Cases:
    """All cases by name.

    Args:
        folder: Temporary folder for projects, tables and what the programs write.
        short: Whether trainings take one or two epochs, to see that everything runs.
    """

    def __init__(self, folder: Path, short: bool = False) -> None:
        self.folder = folder
        self.short = short
        self._projects: dict[str, Path] = {}

    NAMES = (
        *("regression", "rows_10000", "rows_100000", "classification", "image_classification", "language_model"),
        *("stock_lightning", "engine_alone", "hydra_template"),
        *("smoke", "help", "misspelled", "fit_help", "bytecode", "generation", "rendering"),
        *(f"tricks_{name}" for name in dict.fromkeys(case for trick in TRICKS.values() for case in trick.cases)),
    )

    def make(self, name: str) -> Case:
        """Make a case; projects and tables are written when they are needed."""
        if name.startswith("tricks_"):
            return self.tricks(name.removeprefix("tricks_"))
        case: Case = getattr(self, name)()
        return case

    # Training against the loop written by hand

    def regression(self) -> Case:
        return self._training("regression", "diabetes study, 11 parameters, batch 10", 300, 0.30, 0.03)

    def rows_10000(self) -> Case:
        options = ("--data.path", str(self.table(10_000)), "--data.target", "y")
        by_hand = ("--path", self.table(10_000))
        return self._training("regression", "10,000 rows, 11 parameters, batch 10", 15, 0.30, 0.03, options, by_hand)

    def rows_100000(self) -> Case:
        options = ("--data.path", str(self.table(100_000)), "--data.target", "y", "--data.batch_size", "256")
        by_hand = ("--path", self.table(100_000), "--batch_size", "256")
        return self._training("regression", "100,000 rows, 11 parameters, batch 256", 15, 1.5, 0.01, options, by_hand)

    def classification(self) -> Case:
        return self._training("classification", "breast cancer study, 30-64-64-2, batch 32", 150, 1.0, 0.2)

    def image_classification(self) -> Case:
        return self._training("image_classification", "digits, residual network, batch 64", 6, 1.15, 0.03)

    def language_model(self) -> Case:
        options = ("--config", "configs/smoke.yaml")
        return self._training("language_model", "smoke.yaml: 0.8 million parameters, batch 12", 1, 1.0, 0.1, options)

    def _training(
        self,
        task: str,
        title: str,
        epochs: int,
        goal: float,
        tolerance: float,
        options: Sequence[str] = (),
        by_hand: Sequence[str | Path] = (),
    ) -> Case:
        epochs = min(epochs, 2) if self.short else epochs
        project = self.project(task)
        script = HAND / f"{task}.py"

        def shipped(epochs: int, switch: str = "") -> Run:
            return self._fit(project, epochs, options, switch)

        def hand(epochs: int, *more: str) -> Run:
            return self._script(script, epochs, (*by_hand, *more), project)

        same = 1 if len(options) > 2 or task in ("image_classification", "language_model") else 5
        return Case(
            title=f"{task}: {title}",
            how=f"{epochs} epochs, first step to last",
            sides={
                "project": partial(shipped, epochs),
                "by_hand": partial(hand, epochs),
                "by_hand_tricks": partial(hand, epochs, "--tricks"),
            },
            ratios={"speed": ("by_hand", "project"), "by hand with tricks": ("by_hand", "by_hand_tricks")},
            goal=goal,
            tolerance=tolerance,
            same_batches=(partial(shipped, same, "same_batches"), partial(hand, same)),
        )

    # Training against other ways to use Lightning

    def stock_lightning(self) -> Case:
        return self._mlp("project", "stock Lightning as documented: MLP 10-64-64-1, batch 64", 2.0)

    def engine_alone(self) -> Case:
        return self._mlp("engine", "the same module and loaders, run by the project's engine", None)

    def _mlp(self, side: str, title: str, goal: float | None) -> Case:
        epochs, table = 1 if self.short else 10, self.table(10_000)
        project = self.project("regression")
        sides = {
            "project": (
                *("--data.path", str(table), "--data.target", "y", "--data.batch_size", "64"),
                *("--model.hidden", "[64,64]"),
            ),
            "engine": (
                *("--model", "stock_lightning.LitMLP", "--data", "stock_lightning.TableData"),
                *("--data.path", str(table)),
            ),
        }
        script = partial(self._script, HAND / "stock_lightning.py", epochs, ("--path", table), project)
        return Case(
            title=title,
            how=f"10,000 rows, {epochs} epochs, three metrics logged per step by stock Lightning",
            sides={side: partial(self._fit, project, epochs, sides[side]), "stock": script},
            ratios={"speed": ("stock", side)},
            goal=goal,
            tolerance=0.03,
        )

    def hydra_template(self) -> Case:
        epochs, table = 1 if self.short else 20, self.classes(10_000)
        project = self.project("classification")
        options = (
            *("--data.path", str(table), "--data.target", "y", "--data.batch_size", "128", "--model.hidden", "[64,64]"),
            *("--model.dropout", "0", "--model.weight_decay", "0", "--model.lr", "0.001"),
            *("--model.schedule", "constant"),
        )
        return Case(
            title="lightning-hydra-template's way: MLP 20-64-64-10, batch 128",
            how=f"10,000 rows, {epochs} epochs; its metrics, callbacks, CSV logger and loaders, without Hydra",
            sides={
                "project": partial(self._fit, project, epochs, options),
                "hydra_template": partial(self._script, HAND / "hydra_template.py", epochs, ("--path", table), project),
            },
            ratios={"speed": ("hydra_template", "project")},
            goal=1.2,
            tolerance=0.05,
        )

    # Whole processes

    def smoke(self) -> Case:
        script = Program(
            [sys.executable, HAND / "regression.py", "--epochs", "1"], self._scratch("hand"), paths(self._plain)
        )
        return self._processes(
            "smoke process / the same epoch by hand",
            "`fit --config configs/smoke.yaml` / `regression.py --epochs 1`",
            {"smoke": self._command("fit", "--config", "configs/smoke.yaml"), "by hand": script},
            0.85,
        )

    def help(self) -> Case:
        return self._imports("torch", "`--help`", self._command("--help"), 0.1)

    def misspelled(self) -> Case:
        program = self._command("fit", "--trainer.max_epoch", "3")._replace(status=2)
        return self._imports("torch", "a misspelled option", program, 0.1)

    def fit_help(self) -> Case:
        return self._imports("lightning.pytorch", "`fit --help`", self._command("fit", "--help"), 0.15)

    def bytecode(self) -> Case:
        smoke = self._command("fit", "--config", "configs/smoke.yaml")

        def first() -> Run:
            for folder in list(self._plain.rglob("__pycache__")):
                shutil.rmtree(folder)
            return smoke.process()

        return Case(
            title="first smoke process after installing / the second",
            how="without byte code of the project; pip and the project's setting for uv compile that of packages",
            sides={"first": first, "second": smoke.process},
            ratios={"cost": ("first", "second")},
            goal=1.2,
            goal_is="most",
            keep_order=True,
        )

    def generation(self) -> Case:
        def smoke() -> Run:
            # As the hook runs it: elsewhere, and without byte code of the project.
            project = self.project("regression", kind="unrun")
            configs = [part for name in ("train", "smoke") for part in ("--config", project / f"configs/{name}.yaml")]
            command = [sys.executable, "-m", f"{NAME}.train", "fit", *configs]
            environment = {"PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                return Program(command, Path(folder), environment).process()

        return Case(
            title="whole generation / the smoke process inside it",
            how="`cookiecutter --no-input`, with its hooks",
            sides={"generation": partial(self._render, REPO), "smoke": smoke},
            ratios={"cost": ("generation", "smoke")},
            goal=1.1,
            goal_is="most",
        )

    def rendering(self) -> Case:
        template = self.folder / "one_file"
        (template / "{{cookiecutter.name}}").mkdir(parents=True, exist_ok=True)
        (template / "{{cookiecutter.name}}/README.md").write_text("# {{ cookiecutter.name }}\n")
        (template / "cookiecutter.json").write_text('{"name": "one_file"}')
        return Case(
            title="rendering without the hooks / a template of one file",
            how="`cookiecutter --no-input --accept-hooks no`",
            sides={
                "template": partial(self._render, REPO, "--accept-hooks", "no"),
                "one file": partial(self._render, template, "--accept-hooks", "no"),
            },
            ratios={"cost": ("template", "one file")},
            goal=1.3,
            goal_is="most",
        )

    def _imports(self, module: str, title: str, program: Program, goal: float) -> Case:
        imports = Program([sys.executable, "-c", f"import {module}"], self.folder, {})
        return self._processes(f"{title} / `import {module}`", "", {"program": program, "import": imports}, goal)

    def _processes(self, title: str, how: str, programs: dict[str, Program], goal: float) -> Case:
        """Compare two whole processes, the first of which should take at most `goal` of the time of the second."""
        one, other = programs
        sides: dict[str, Side] = {name: program.process for name, program in programs.items()}
        return Case(title, how or "whole processes", sides, {"cost": (one, other)}, goal, "most")

    def _command(self, *arguments: str) -> Program:
        return Program(
            [sys.executable, "-m", f"{NAME}.train", *arguments], self._plain, {"PYTHONPATH": str(self._plain / "src")}
        )

    def _render(self, template: Path, *options: str) -> Run:
        command = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config", *options]
        people = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
        }
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            return Program([*command, "--output-dir", folder, template], self.folder, people).process()

    # Tricks

    def tricks(self, name: str) -> Case:
        """Compare a project with itself, each time without one of the tricks."""
        base = self.make(name)
        shipped = base.sides["project"]
        assert isinstance(shipped, partial)
        names = [trick for trick, (_, cases, _) in TRICKS.items() if name in cases]
        return Case(
            title=base.title,
            how=base.how,
            sides={"project": shipped, **{trick: partial(shipped, switch=trick) for trick in names}},
            ratios={trick: (trick, "project") for trick in names},
            tolerance=base.tolerance,
        )

    # What the programs need

    def project(self, task: str, kind: str = "") -> Path:
        """Render a project, once; `kind` keeps apart what one should not have run."""
        key = f"{task}{kind}"
        if key not in self._projects:
            self._projects[key] = render(self._scratch(key), task=task)
        return self._projects[key]

    @cached_property
    def _plain(self) -> Path:
        return self.project("regression")

    def table(self, rows: int) -> Path:
        """Write a table of 10 features and a linear target."""
        generator = np.random.default_rng(0)
        x = generator.normal(size=(rows, 10))
        y = x @ generator.normal(size=10) + generator.normal(size=rows)
        return self._csv(f"rows_{rows}", np.column_stack([x, y]), "%.6f")

    def classes(self, rows: int) -> Path:
        """Write a table of 20 features and a target of 10 classes, clusters that overlap."""
        generator = np.random.default_rng(0)
        classes = generator.integers(10, size=rows)
        x = generator.normal(size=(10, 20))[classes] + generator.normal(size=(rows, 20))
        return self._csv(f"classes_{rows}", np.column_stack([x, classes]), ["%.6f"] * 20 + ["%d"])

    def _csv(self, name: str, values: np.ndarray, form: str | list[str]) -> Path:
        path = self.folder / f"{name}.csv"
        if not path.exists():
            header = ",".join([*(f"x{column}" for column in range(values.shape[1] - 1)), "y"])
            np.savetxt(path, values, fmt=form, delimiter=",", header=header, comments="")
        return path

    def _scratch(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def _fit(self, project: Path, epochs: int, options: Sequence[str], switch: str = "") -> Run:
        trainer = ("--trainer.max_epochs", str(epochs), "--trainer.devices", "1")
        return fit(project, *options, *trainer, switch=switch).training()

    def _script(self, script: Path, epochs: int, options: Sequence[str | Path], project: Path) -> Run:
        command = [sys.executable, script, "--epochs", str(epochs), *options]
        return Program(command, self._scratch("hand"), paths(project)).training()
