"""`compare_initializers`: a comparison from Python, with the engine, the identity and the store of the commands."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.api.arms import DEFAULT, GivenArm, check_several, in_layer_names, read_arms
from pipeline.api.beside import as_refusal, isolated
from pipeline.api.classes import pickled
from pipeline.api.data import StagedData, stage_data
from pipeline.api.models import read_model
from pipeline.api.progress import Bar, progress_bar
from pipeline.api.settings import (
    Question,
    build_configs,
    check_design,
    check_names,
    check_question,
    setting_keys,
    standardizing_note,
)
from pipeline.api.state import kept_state
from pipeline.api.stopping import with_callbacks
from pipeline.api.study import Study, make_study
from pipeline.api.tuning import check_seeds, read_argument
from pipeline.api.uploads import Uploads
from pipeline.api.wording import in_python
from pipeline.api.worker import ablate, check, define, train
from pipeline.config.schema import Config
from pipeline.config.user_classes import used_classes
from pipeline.errors import ConfigError, PipelineError, describe_error, kind_of
from pipeline.experiment.isolation import JobError, start_trainer, stop_trainer, train_isolated
from pipeline.experiment.outcome import Outcome, plans_by_arm
from pipeline.experiment.plan import plan_job, shown_names
from pipeline.experiment.run import run_arm
from pipeline.experiment.until import declare_designs, take_looks
from pipeline.experiment.validate import refuse_conflicting
from pipeline.models.stable_names import in_stable_names
from pipeline.runtime.logs import forget_told, told_to
from pipeline.store.files import check_writable


def compare_initializers(
    model: Any,
    data: Any,
    arms: Sequence[Any] = DEFAULT,
    *,
    target: Any = None,
    validation_data: Any = None,
    test_data: Any = None,
    seeds: Any = None,
    until: str | None = None,
    tune: Any = None,
    epochs: int = 20,
    baseline: Any = None,
    metric: str = "",
    margin: float | None = None,
    threshold: float | None = None,
    results: Any = None,
    study: str = "",
    progress: bool = True,
    mlflow: bool | str = False,
    **settings: Any,
) -> Study:
    """Train a model under several bias settings over many seeds, and compare them.

    model: a `keras.Sequential` or a Functional model (its architecture, and what it was compiled with), a function that
    returns one, the path of a `.keras` file, or a name of conf/model. data: `(x, y)`, a DataFrame with `target=`, a
    finite `tf.data.Dataset` of rows or batches, a path, or a name of conf/data; `validation_data` and `test_data` in
    the same form, else rows are held out per seed. arms: names, calls such as "constant(0.1)", initializers of Keras or
    of your own, mappings of layers to these; "no_bias" builds the layers without biases.

    seeds: a count or a list; 10 by default. until: "decided" trains as many as it takes to decide every arm, in looks
    that are declared beforehand (looks, most_seeds, spending, alpha: conf/README.md, design). tune: "learning_rate" or
    another number, or {"learning_rate": [0.001, 0.01]}, two at most: trains every arm at every value, and compares each
    at its best, which other seeds choose than judge it. baseline: the arm that
    others are compared with; "zeros" by default, or the first arm. metric, margin, threshold: what the verdict is
    about, as in `pipeline.compare`. results: a folder that keeps the runs, so that a second call trains only what is
    missing and the commands see them; without it they are temporary.
    study: a name for it. progress: show a bar. mlflow: True, or the address of a server, uploads the runs and the
    verdict. settings: any other setting by the last word of its key (conf/README.md): batch_size, optimizer,
    learning_rate, loss, metrics, class_weight, bias_layers, test_fraction, standardize, missing, and so on; stop takes
    {"patience": 5}, or a `keras.callbacks.EarlyStopping` that restores the best weights, as `callbacks` does too.

    The caller's random state, log levels, warnings, environment and signals are as before afterwards. Raises
    PipelineError, in one line, for whatever cannot be done.
    """
    given = {"data": data, "validation_data": validation_data, "test_data": test_data}
    question = Question(baseline, metric, margin, threshold)
    settings = with_callbacks(settings)
    check_design(until, seeds, settings)
    settings |= {"seeds": 10 if seeds is None else seeds, "epochs": epochs, "until": until}
    request = _Request(model, given, target, arms, settings, question, mlflow, results is not None, tune)
    check_names(settings, list(compare_initializers.__kwdefaults__ or ()))
    with kept_state(), _told() as notes, _in_python_words(request), _results_folder(results) as folder:
        with tempfile.TemporaryDirectory(prefix="bias-") as aside, progress_bar(progress) as bar:
            comparison = _compare(request, folder, study, Path(aside), bar, notes)
        return comparison if results is not None else comparison.remove_at_exit(folder)


@dataclass
class _Request:
    """What a call asks for.

    is_kept: whether the results stay. files: the names of the files made of what is in memory -> the argument they
    stand for.
    """

    model: Any
    data: Mapping[str, Any]
    target: Any
    arms: Any
    settings: Mapping[str, Any]
    question: Question
    mlflow: bool | str
    is_kept: bool
    tune: Any = None
    files: dict[str, str] = field(default_factory=dict)


def _compare(request: _Request, results: Path, study: str, aside: Path, bar: Bar, notes: list[str]) -> Study:
    try:
        return _run(request, results, study, aside, bar, notes)
    finally:
        stop_trainer()


def _run(request: _Request, results: Path, study: str, aside: Path, bar: Bar, notes: list[str]) -> Study:
    check_question(request.question, request.mlflow)
    tune = None if request.tune is None else read_argument(request.tune, setting_keys())
    bar.begin("reading the model and the data")
    model = read_model(request.model)
    arms, settings = in_layer_names(read_arms(request.arms), model.names), dict(request.settings)
    if isinstance(layers := settings.get("bias_layers"), (list, tuple)):
        settings["bias_layers"] = list(in_stable_names(layers, model.names, "bias_layers").values())
    data = stage_data(request.data, request.target, model.input_shape, aside)
    request.files.update(data.shown)
    build = partial(build_configs, model, arms=arms, settings=settings, results=results, study=study, tune=tune)
    plans = [plan_job(config) for config in build(data=data)]
    refuse_conflicting(plans)
    check_seeds(plans[0].config)
    at_shared = plans[: len(arms)]
    notes += check_several([arm.given for arm in arms], [plan.arm for plan in at_shared], shown_names(at_shared))
    baseline = _baseline(request.question.baseline, arms, [plan.bias_setting for plan in at_shared])
    log = aside / "log"
    if any(plan.missing for plan in plans):
        start_trainer()
        bar.begin("starting TensorFlow")
        own = used_classes([asdict(plans[0].config.training), plans[0].config.kernel_initializer])
        given = [*model.classes, *(known for arm in arms for known in arm.classes), *own]
        if classes := dict.fromkeys(given):
            runtime = plans[0].config.runtime
            isolated(define, pickled(list(classes)), runtime.device, plans[0].portable, log=log)
        notes += isolated(check, plans, request.question.metric, request.question.margin, log=log)
    uploads = Uploads(request.mlflow, log)
    outcomes = _train_looks(build(data=_kept(data, results)), baseline, request.question, uploads, log, bar, notes)
    trained = [outcome.plan for outcome in outcomes if outcome.trained]
    if trained and trained[0].config.ablation:
        bar.begin("testing the models with other biases")
        notes += isolated(ablate, [outcome.plan for outcome in outcomes], log=log)
    bar.begin("comparing")
    notes += standardizing_note(model, data, plans[0].config)
    names = dict(zip([str(arm.given) for arm in arms], [plan.bias_setting for plan in at_shared], strict=True))
    notes[:] = [in_python(line, request.files) for line in notes]
    answer = make_study([outcome.plan for outcome in outcomes], request.question, baseline, names, notes, tune)
    answer.is_kept = request.is_kept
    if request.mlflow:
        bar.begin("sending the verdict to MLflow")
    answer.add_notes(uploads.send_verdict(answer, aside / "report"))
    return answer


def _train_looks(
    configs: Sequence[Config], baseline: str, question: Question, uploads: Uploads, log: Path, bar: Bar,
    notes: list[str],
) -> list[Outcome]:  # fmt: skip
    """Train what is missing; with until="decided", look by look. notes: gets what each look has decided."""
    design = replace(configs[0].design, baseline=baseline, metric=question.metric or None, margin=question.margin)
    configs = [replace(config, design=design) for config in configs]
    if configs[0].until is not None:
        notes += declare_designs([plan_job(config) for config in configs], is_written=True)
    while True:
        outcomes = _train(configs, uploads, log, bar)
        lines, goes_on = take_looks([outcome.plan for outcome in outcomes])
        notes += lines
        if not (lines and goes_on):
            return outcomes


def _train(configs: Sequence[Config], uploads: Uploads, log: Path, bar: Bar) -> list[Outcome]:
    """Train what is missing of each arm."""
    plans = plans_by_arm([plan_job(config) for config in configs])
    outcomes = []
    for i, (plan, name) in enumerate(zip(plans, shown_names(plans), strict=True)):
        where = f"arm {i + 1} of {len(plans)}, {name}"

        def show(arm: str, done: int, total: int, i: int = i, where: str = where) -> None:
            bar.show(f"{where}: epoch {done} of {total}", (i + done / max(total, 1)) / len(plans))

        bar.begin(where, i / len(plans))
        try:
            outcomes.append(
                run_arm(plan.config, show, uploads.send_arm, partial(train_isolated, job_log=log, work=train))
            )
        except JobError as error:
            raise as_refusal(error, f"arms: {name}: ") from error
    return outcomes


def _kept(data: StagedData, results: Path) -> StagedData:
    """The data with their files beside the results."""
    try:
        return data.keep_files(results)
    except OSError as error:
        raise ConfigError(f"results: {results} cannot be written: {error.strerror or error}") from error


def _baseline(given: Any, arms: Sequence[GivenArm], settings: Sequence[str]) -> str:
    """The bias setting that others are compared with."""
    if given is None:
        return "zeros" if "zeros" in settings else settings[0]
    for arm, setting in zip(arms, settings, strict=True):
        if given is arm.given or (isinstance(given, str) and given in (arm.given, setting)):
            return setting
    raise ConfigError("baseline", given if isinstance(given, str) else kind_of(given), list(settings))


@contextmanager
def _results_folder(results: Any) -> Iterator[Path]:
    """The folder of the results; a temporary one, which an error removes, where none is given."""
    if results is not None:
        try:
            folder = Path(results).expanduser().absolute()
        except (TypeError, RuntimeError) as error:
            raise ConfigError("results", kind_of(results), "the path of a folder") from error
        check_writable(folder, "results")
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="bias-study-")).resolve()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _told() -> Iterator[list[str]]:
    """Collect the lines that the engine has for the user."""
    lines: list[str] = []
    forget_told()
    with told_to(lines.append):
        yield lines


@contextmanager
def _in_python_words(request: _Request) -> Iterator[None]:
    """Raise whatever fails within as a PipelineError of one line that speaks of arguments."""
    try:
        yield
    except ConfigError as error:
        raise type(error)(in_python(str(error), request.files)) from None
    except PipelineError as error:
        raise PipelineError(in_python(str(error), request.files)) from None
    except MemoryError as error:
        raise PipelineError("data: they take more memory than there is") from error
    except Exception as error:
        raise PipelineError(describe_error(error)) from error
