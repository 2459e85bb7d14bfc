"""Check what only TensorFlow can tell: find, before anything is trained, what would make a job fail."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.biases.extraction import bias_variables
from pipeline.config.stopping import monitored_name
from pipeline.data.dataset import TEST, Dataset
from pipeline.data.sources import load_dataset
from pipeline.data.splits import Split, split_rows, standardized_targets
from pipeline.errors import ConfigError, describe_size, printable
from pipeline.experiment.check_model import check_input, check_output_layer
from pipeline.experiment.check_rows import check_rows
from pipeline.experiment.plan import Plan
from pipeline.models.build import build_model
from pipeline.models.spec import own_biases
from pipeline.runtime.device import free_disk, free_memory, start_tensorflow
from pipeline.runtime.logs import tell_once
from pipeline.runtime.wrapping import print_sentences
from pipeline.training.class_weights import listed_weights
from pipeline.training.loop import fit_batch_size
from pipeline.training.memory import memory_is_short
from pipeline.training.objectives import check_objective, check_outputs
from pipeline.training.optimizers import check_optimizer_values
from pipeline.training.portability import check_portable
from pipeline.training.stopping import stops_by_training_rows

MAX_KEPT_WEIGHTS = 1_000_000  # parameters up to which a run keeps its weights unasked: 8 MB, before and after
MAX_SHARED_WEIGHTS = 4_000_000  # parameters of initial models that are kept for other plans: 16 MB
SEED_BYTES = 80 * 2**10  # of memory that a seed takes besides its weights and rows, as the models of conf/ do
RUN_BYTES = 16 * 2**10  # of disk that a run takes besides its arrays: four files, each of one block or more


def check_plans(plans: Sequence[Plan], models: "FirstModels | None" = None) -> bool:
    """Load the data and build the model of every plan that has seeds to train. Raises ConfigError.

    Plans that differ only in their bias setting by name share one check. How each dataset was read is printed once.
    models: keeps those that were built for who needs them next. Returns whether some job may well be killed for memory,
    see `memory_is_short`.
    """
    checked, sizes, short = [], [], False
    shown: set[str] = set()
    models = models or FirstModels()
    total = 0
    for plan in plans:  # what is too much for any model is refused without waiting for TensorFlow
        _check_room(plan, len(plan.missing) * SEED_BYTES, free_memory(), "of memory or more")
    for plan in plans:
        config, settings = plan.config, plan.settings
        subject = (settings["data"], settings["model"], settings["optimizer"], config.data.path, config.runtime,
                   config.training)  # fmt: skip
        if not plan.missing:
            continue
        if subject not in checked:
            checked.append(subject)
            _show_remarks(plan, shown)
            is_short, bytes_per_run = _check_plan(plan, models)
            short |= is_short
            sizes.append(bytes_per_run)
        total += len(plan.missing) * sizes[checked.index(subject)]
        _check_room(plan, total, free_disk(plan.store.results), "on disk")
    return short


def _show_remarks(plan: Plan, shown: set[str]) -> None:
    """Print how the data were read, what is odd about them, and which layers keep their own bias, each once."""
    for remark in (*load_dataset(plan.config.data).remarks, *own_biases(plan.config)):
        line = printable(remark)
        if line not in shown:
            print_sentences([line])
            shown.add(line)


def _check_plan(plan: Plan, models: "FirstModels") -> tuple[bool, int]:
    """Whether memory is short, and the bytes on disk of a run. models: of the plans that are checked."""
    config = plan.config
    dataset = load_dataset(config.data)
    own_test = config.data.path is None and dataset.parts is not None and bool((dataset.parts == TEST).any())
    if own_test and config.data.test_fraction is not None:
        reason = f"but {config.data.name} has its own test rows"
        raise ConfigError("data.test_fraction", config.data.test_fraction, "null", reason=reason)
    weights = listed_weights(config.training.class_weight, dataset.classes)
    check_objective(replace(config.training, class_weight=weights), dataset.task, len(dataset.classes))
    start_tensorflow(config.runtime.device, plan.portable)
    check_optimizer_values(config.optimizer)
    is_new = models.is_new(plan)
    model, dataset, split = models.of(plan)
    if is_new and "code" in plan.settings:
        from pipeline.models.initializers.own import check_repeatable

        check_repeatable(model, build_seed_model(plan, dataset, split))
    if stops_by_training_rows(config.training.stop, split):
        monitored = monitored_name(config.training.stop or {})
        tell_once(
            f"training.stop: {monitored} is measured on the rows that are trained on, so that nothing holds back "
            "overfitting; data.validation_fraction holds some out"
        )
    if plan.portable:
        training = fit_batch_size(config.training, split)
        check_portable(model, config.optimizer, training, config.runtime.portable)
    check_output_layer(plan, model, dataset)
    if is_new and check_rows(model, dataset, split, config.data):
        models.forget(plan)  # it has run, which may have changed its state
    check_outputs(config.training, dataset.task, model.output_shape[-1])
    weights = 4 * model.count_params()
    biases = sum(4 * math.prod(variable.shape) for variable in bias_variables(model).values())
    seed_bytes = SEED_BYTES + 2 * weights + 4 * len(dataset.x)
    _check_room(plan, len(plan.missing) * seed_bytes, free_memory(), "of memory")
    is_kept = config.show_weights or model.count_params() <= MAX_KEPT_WEIGHTS
    rows = len(dataset.x) + config.training.epochs * len(split.train)
    run_bytes = (
        RUN_BYTES + 4 * rows + biases * (config.training.epochs + 3) + weights * (2 * is_kept + config.keep_model)
    )
    return memory_is_short(model, fit_batch_size(config.training, split)), run_bytes


def _check_room(plan: Plan, needed: int, free: int, where: str) -> None:
    """Refuse more seeds at once than there is room for."""
    if needed > free:
        reason = f"which take about {describe_size(needed)} {where}, but {describe_size(free)} are free"
        raise ConfigError("seeds", len(plan.config.seeds), "fewer; later seeds can follow", reason=reason)


class FirstModels:
    """Builds the initial model of each plan's first seed, once for plans that differ in other settings alone.

    Models are kept until they have `MAX_SHARED_WEIGHTS` parameters in all.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, Dataset, Split]] = {}
        self._seen = set[str]()
        self._n_weights = 0

    def is_new(self, plan: Plan) -> bool:
        """Whether this is the first plan with its model that is asked for."""
        key = _model_key(plan)
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new

    def forget(self, plan: Plan) -> None:
        """Build the plan's model anew where it is needed again."""
        self._known.pop(_model_key(plan), None)

    def of(self, plan: Plan) -> tuple[Any, Dataset, Split]:
        """What `first_model` returns. Raises ConfigError."""
        key = _model_key(plan)
        if key in self._known:
            return self._known[key]
        made = first_model(plan)
        self._n_weights += made[0].count_params()
        if self._n_weights <= MAX_SHARED_WEIGHTS:
            self._known[key] = made
        return made


def _model_key(plan: Plan) -> str:
    """A text that is equal for plans whose first seeds have the same initial model, data and rows."""
    config, settings = plan.config, plan.settings
    decisive = (settings["data"], settings["model"], settings.get("code"), config.data, config.model, config.runtime)
    return repr((*decisive, config.code, config.seeds[0]))


def first_model(plan: Plan) -> tuple[Any, Dataset, Split]:
    """The initial model of a plan's first seed, the dataset, and the rows it trains on. Raises ConfigError."""
    start_tensorflow(plan.config.runtime.device, plan.portable)
    dataset = load_dataset(plan.config.data)
    check_input(plan, dataset)
    split = split_rows(dataset, plan.config.data, plan.config.seeds[0])
    return build_seed_model(plan, dataset, split), dataset, split


def build_seed_model(plan: Plan, dataset: Dataset, split: Split) -> Any:
    """Build the Keras model of one seed with its initial weights. Raises ConfigError where Keras cannot."""
    labels = standardized_targets(dataset, split, split.train)
    layers, shape = plan.settings["model"]["layers"], dataset.x.shape[1:]
    return build_model(layers, shape, dataset.task, dataset.n_targets, split.seed, labels)
