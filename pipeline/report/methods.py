"""methods.md and references.bib: the methods of a comparison as a paper describes them, with their sources."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.analysis.arms import EPOCHS_TO
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.study import Study
from pipeline.config.metrics import METRICS, metric_part
from pipeline.report.reviewer import MISSING, NOT_RECORDED, NOT_SHOWN, reviewer_facts
from pipeline.report.settings import MOST_NAMED
from pipeline.report.training import describe_training, either
from pipeline.stats.intervals import ALPHA
from pipeline.stats.paired import FAILURE, FEWEST_EQUIVALENT
from pipeline.store.designs import Progress
from pipeline.store.seeds import seed_span

# key -> kind, authors, title, the rest of the entry.
References = Mapping[str, tuple[str, str, str, dict[str, str]]]
REFERENCES: References = {
    "bouthillier2021": ("inproceedings", "Bouthillier, Xavier and others",
                        "Accounting for Variance in Machine Learning Benchmarks",
                        {"booktitle": "Proceedings of Machine Learning and Systems", "volume": "3", "year": "2021"}),
    "efron1987": ("article", "Efron, Bradley", "Better Bootstrap Confidence Intervals",
                  {"journal": "Journal of the American Statistical Association", "volume": "82", "pages": "171--185",
                   "year": "1987"}),
    "hesterberg2015": ("article", "Hesterberg, Tim C.", "What Teachers Should Know About the Bootstrap",
                       {"journal": "The American Statistician", "volume": "69", "pages": "371--386", "year": "2015"}),
    "fisher1935": ("book", "Fisher, Ronald A.", "The Design of Experiments",
                   {"publisher": "Oliver and Boyd", "year": "1935"}),
    "good2005": ("book", "Good, Phillip I.", "Permutation, Parametric and Bootstrap Tests of Hypotheses",
                 {"publisher": "Springer", "year": "2005"}),
    "holm1979": ("article", "Holm, Sture", "A Simple Sequentially Rejective Multiple Test Procedure",
                 {"journal": "Scandinavian Journal of Statistics", "volume": "6", "pages": "65--70", "year": "1979"}),
    "lakens2017": ("article", "Lakens, Dani{\\\"e}l",
                   "Equivalence Tests: A Practical Primer for t Tests, Correlations, and Meta-Analyses",
                   {"journal": "Social Psychological and Personality Science", "volume": "8", "pages": "355--362",
                    "year": "2017"}),
    "cohen1988": ("book", "Cohen, Jacob", "Statistical Power Analysis for the Behavioral Sciences",
                  {"publisher": "Lawrence Erlbaum", "year": "1988"}),
    "welch1947": ("article", "Welch, B. L.", "The Generalization of Student's Problem when Several Different "
                  "Population Variances are Involved",
                  {"journal": "Biometrika", "volume": "34", "pages": "28--35", "year": "1947"}),
    "lan1983": ("article", "Lan, K. K. Gordon and DeMets, David L.",
                "Discrete Sequential Boundaries for Clinical Trials",
                {"journal": "Biometrika", "volume": "70", "pages": "659--663", "year": "1983"}),
    "dwass1957": ("article", "Dwass, Meyer", "Modified Randomization Tests for Nonparametric Hypotheses",
                  {"journal": "The Annals of Mathematical Statistics", "volume": "28", "pages": "181--187",
                   "year": "1957"}),
    "jennison1989": ("article", "Jennison, Christopher and Turnbull, Bruce W.",
                     "Interim Analyses: The Repeated Confidence Interval Approach",
                     {"journal": "Journal of the Royal Statistical Society. Series B", "volume": "51",
                      "pages": "305--361", "year": "1989"}),
    "liu2008": ("article", "Liu, Qing and Anderson, Keaven M.",
                "On Adaptive Extensions of Group Sequential Trials for Clinical Investigations",
                {"journal": "Journal of the American Statistical Association", "volume": "103",
                 "pages": "1621--1630", "year": "2008"}),
    "maurer2013": ("article", "Maurer, Willi and Bretz, Frank",
                   "Multiple Testing in Group Sequential Trials Using Graphical Approaches",
                   {"journal": "Statistics in Biopharmaceutical Research", "volume": "5", "pages": "311--320",
                    "year": "2013"}),
    "whitehead1986": ("article", "Whitehead, John",
                      "On the Bias of Maximum Likelihood Estimation Following a Sequential Test",
                      {"journal": "Biometrika", "volume": "73", "pages": "573--581", "year": "1986"}),
    "royston2013": ("article", "Royston, Patrick and Parmar, Mahesh K. B.", "Restricted mean survival time",
                    {"journal": "BMC Medical Research Methodology", "volume": "13", "year": "2013"}),
}  # fmt: skip


def render_methods(comparison: Comparison) -> str:
    """Render methods.md: a text for a paper's section on methods, its sources by the keys of references.bib."""
    study, facts = comparison.study, dict(reviewer_facts(comparison))
    training = describe_training(study.arms)
    blocks = f", in {training.blocks} blocks" if training.blocks > 1 else ""
    blocks += f" that differ in {training.differing}" if training.differing else ""
    ended = f"; {training.stopped}, and each was tested with the weights of its best epoch" if training.stopped else ""
    missing = facts["missing values"]
    gaps = "" if missing in (MISSING["refuse"], NOT_RECORDED) else f" Missing values: {missing}."
    unpaired = any(verdict.pairs == 0 for verdict in comparison.compared)
    alike = f"all arms{' of a block' if blocks else ''}{' that were compared in pairs' if unpaired else ''}"
    paragraphs = [
        f"# Methods of {study.name}",
        f"We compared {_counted(len(training.settings), 'way', 'ways')} to initialize the biases "
        f"({', '.join(training.settings)}) of {_counted(training.models, 'model', 'models')} on "
        f"{_counted(training.datasets, 'dataset', 'datasets')} (rows: {facts['rows']}){blocks}, with "
        f"{facts['seeds'].partition(' ')[0]} seeds, trained with {facts['optimizer']} for {training.epochs_text}"
        f"{ended}. For one seed {alike} shared the initial kernels, the split, the order of rows and dropout; only the "
        f"biases differed [@bouthillier2021].{gaps}",
        *filter(None, [_model_and_loss(comparison, facts)]),
        f"Arms were compared with {study.baseline} by {study.metric}. {_tests(comparison)} Equivalence takes "
        f"{FEWEST_EQUIVALENT} seeds or more, none of which differs by more than {FAILURE} margins, so that rare "
        "failures are excluded. Effect sizes are means of the paired differences over their standard deviation "
        f"[@cohen1988]. {_explored(study)}".rstrip(),
    ]
    if unpaired:
        paragraphs.append(
            "Arms whose runs of a seed did not start alike were compared unpaired, with Welch's interval [@welch1947] "
            "and by exchanging runs, and were not tested for equivalence."
        )
    if study.pooled_arms:
        paragraphs.append(
            "Over several blocks, the value of a seed is its mean over the blocks, and the seed is the unit of each "
            "test [@bouthillier2021]; p is corrected for these comparisons apart from those of each block."
        )
    if any(metric.startswith(EPOCHS_TO) for metric in study.metrics):
        paragraphs.append(
            "Epochs to a level of a metric are restricted means: a run that never reached it counts as one epoch more "
            "than there were [@royston2013]."
        )
    configs = [arm.runs[0].meta["config"] for arm in study.arms]
    if all(config.get("data", {}).get("standardize") is True for config in configs):
        paragraphs.append(
            "Features were standardized with the mean and standard deviation of each seed's training rows."
        )
    if coded := _coded(study.arms[0].runs[0].meta.get("data_columns", ())):
        paragraphs.append(coded)
    commit = facts["commit of the code"]
    paragraphs += [
        f"Versions: {facts['versions']}. Hardware: {facts['hardware']}."
        + ("" if commit in (NOT_RECORDED, NOT_SHOWN) else f" Code: commit {commit}."),
        "The keys are those of references.bib; pandoc --citeproc puts them into any style. To cite the software, see "
        "its CITATION.cff.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _model_and_loss(comparison: Comparison, facts: Mapping[str, str]) -> str:
    """Model, parameters, loss and class weights, in a sentence or two."""
    arms = comparison.study.arms
    configs = [arm.runs[0].meta["config"] for arm in arms]
    names = either(config.get("model", {}).get("name") for config in configs)
    size = facts["parameters"] != NOT_RECORDED
    tasks = [_is_regression(arm.runs[0].meta["metrics"]) for arm in arms]
    losses = either(
        _loss(config.get("training", {}).get("loss"), regression)
        for config, regression in zip(configs, tasks, strict=True)
    )
    weights = either(
        _weights(weight) for config in configs if (weight := config.get("training", {}).get("class_weight"))
    )
    programs = any(run.machine.get("program") for arm in arms for run in arm.runs[:1])
    called = f"{'given from Python and ' * programs}called {names}"
    model = f"The model, {called}, had {facts['parameters']} parameters" if size else f"The model was {called}"
    model = model if names else ""
    weighted = f", with class weights ({weights})" if weights else ""
    return " ".join(f"{part}." for part in (model, losses and f"The loss was {losses}{weighted}") if part)


def _weights(setting: Any) -> str:
    """Class weights as they were given: by label, by number, in the order of the classes, or by a rule."""
    if isinstance(setting, Mapping):
        return ", ".join(f"{name}: {weight:g}" for name, weight in setting.items())
    if isinstance(setting, list):
        return f"{', '.join(f'{weight:g}' for weight in setting)}, in the order of the classes"
    return "balanced: inversely proportional to a class's rows" if setting == "balanced" else str(setting)


def _loss(loss: Any, is_regression: bool) -> str | None:
    """A loss by its name with its arguments; what `auto` stands for."""
    if loss == "auto":
        return "the mean squared error" if is_regression else "the cross-entropy"
    if not isinstance(loss, Mapping):
        return loss
    arguments = ", ".join(f"{name}={value}" for name, value in (loss.get("config") or {}).items())
    return f"{loss.get('class_name')}({arguments})".removesuffix("()")


def _is_regression(metrics: Iterable[str]) -> bool:
    measured = {metric_part(name) for name in metrics}
    return any(metric.name in measured and metric.tasks == ("regression",) for metric in METRICS.values())


def _coded(columns: Sequence[str]) -> str:
    """How columns of texts became numbers, in a sentence; "" where there are none."""
    by_column = Counter(name.rpartition("=")[0] for name in columns if "=" in name)
    if not by_column:
        return ""
    shown = [f"{name} ({count})" for name, count in list(by_column.items())[:MOST_NAMED]]
    more = f" and {len(by_column) - MOST_NAMED} more" if len(by_column) > MOST_NAMED else ""
    of_each = "a column of 0 and 1 for each of its values, as many as in brackets"
    return f"Columns of categories were coded as {of_each}: {', '.join(shown)}{more}."


def _tests(comparison: Comparison) -> str:
    """Intervals and tests of the verdict's metric: of one look, or of a declared design."""
    study, several, looks = comparison.study, comparison.correction.arms > 1, comparison.correction.looks
    if study.progress is not None:
        early = (
            f" Ending before the last look overstates a difference, here that of {', '.join(comparison.ended_early)}; "
            "an estimate without that bias, on average over all studies, stands beside it [@whitehead1986]."
        )
        return _tests_of_looks(study.progress, several) + early * bool(comparison.ended_early)
    corrected = "corrected by Holm's method [@holm1979] for the arms that were compared with one baseline, "
    corrected = f"{corrected}not across metrics" if several else "for one comparison, not corrected across metrics"
    added = f" Seeds were added after answers had been seen, so p and intervals allow for looks at {looks} seeds."
    return (
        "Means have Student's 95 % interval; the mean paired difference has a BCa bootstrap interval [@efron1987] from "
        "the distribution over all resamples, expanded for few seeds [@hesterberg2015] and nowhere narrower than "
        "Student's. p is two-sided, from sign flips of the paired differences [@fisher1935; @good2005], "
        f"{corrected}; the level is {ALPHA:g}. Two one-sided t tests [@lakens2017]"
        f"{', with the same correction,' * several} tested equivalence within a margin of {study.margin:g}."
        f"{added * bool(looks)}"
    )


def _tests_of_looks(progress: Progress, several: bool) -> str:
    """several: whether more than one arm was compared with one baseline."""
    corrected = (
        "corrected by Holm's method [@holm1979; @maurer2013] for the arms that were compared with one baseline, "
    )
    corrected = f"{corrected}not across metrics" if several else "for one comparison, not corrected across metrics"
    design, taken = progress.design, len(progress.looks)
    function = {"obrien_fleming": "O'Brien and Fleming's", "pocock": "Pocock's"}[design.spending]
    when = "before the first run"
    if design.seeds_before:
        when = f"when {seed_span(design.seeds_before)} had been trained, none of which judges"
    return (
        f"Means have Student's 95 % interval. Seeds were added in {taken} of {len(design.looks)} looks, with "
        f"{', '.join(map(str, design.looks))} seeds, which were declared {when}; an arm that was decided "
        f"got no more. The level of {design.alpha:g} was spent over the looks by a function like {function} boundaries "
        "[@lan1983]. At each look sign flips of the paired differences [@fisher1935; @dwass1957], the same flips at "
        "all looks, gave the distribution of their sum; p is the smallest level, of a grid, at which the looks so far "
        "would have ended the comparison [@liu2008], so an upper bound, "
        f"{corrected}. Differences have repeated {100 * (1 - design.alpha):g} % "
        "intervals, which hold at every look [@jennison1989], and two one-sided tests of the same design [@lakens2017] "
        f"tested equivalence within a margin of {design.margin:g}."
    )


def _explored(study: Study) -> str:
    """What is not covered by the level."""
    return f"All metrics but {study.primary} are exploratory." if len(study.metrics) > 1 else ""


def _counted(count: int, one: str, several: str) -> str:
    return f"{'one' if count == 1 else count} {one if count == 1 else several}"


def render_references() -> str:
    """Render references.bib."""
    entries = []
    for key, (kind, authors, title, more) in REFERENCES.items():
        fields = {"author": authors, "title": f"{{{title}}}"} | more
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        entries.append(f"@{kind}{{{key},\n{lines}\n}}\n")
    return "\n".join(entries)
