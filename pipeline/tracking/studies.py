"""Upload whole studies: their arms, then their reports."""

import contextlib
import sys
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from pipeline.config.schema import Tracking
from pipeline.runtime.wrapping import print_sentences
from pipeline.store.checked import describe_unsealed
from pipeline.store.runs import Run, RunStore
from pipeline.store.studies import group_damaged
from pipeline.tracking.background import count_unsent, describe_unlogged, sync_command
from pipeline.tracking.client import hide_passwords, password_hint, store_uri
from pipeline.tracking.comparison import publish_comparison
from pipeline.tracking.names import qualified_names
from pipeline.tracking.pages import verdict_page
from pipeline.tracking.runs import rename_study, try_arm, up_to_date
from pipeline.tracking.waiting import NoAnswerError, wait_for_server

FAILURES_IN_A_ROW = 2  # after which the server is most likely away: each further arm would wait for it again


def sync_studies(tracking: Tracking, stores: Sequence[RunStore], reports: Path, wait: float | None) -> list[str]:
    """Do `upload_studies` within so many seconds; None: as long as it takes, unless a server stops answering.

    Returns one line per problem. After one of time, the upload may go on in a thread.
    """
    unsent, uri = list[str](), hide_passwords(store_uri(tracking))
    try:
        return wait_for_server(uri, wait, "wait", partial(upload_studies, tracking, stores, reports, unsent))
    except NoAnswerError as error:
        missing = count_unsent(unsent) if unsent else "All arms are sent, but not all reports"
        return [f"Could not upload to MLflow at {uri}{error}. {missing}."]


def upload_studies(tracking: Tracking, stores: Sequence[RunStore], reports: Path, unsent: list[str]) -> list[str]:
    """Upload the arms of studies, then their reports. Returns one line per problem.

    An arm that MLflow refuses holds up no other one, nor the report of another study. unsent: the names of the arms
    that MLflow lacks are put there, and taken out as they arrive.
    """
    missing, damaged = _missing_arms(tracking, stores)
    names = qualified_names((store, arm) for store, arm, _ in missing)
    unsent += names
    problems, unlogged, in_a_row = list[str](), dict[str, str](), 0
    for i, (name, (store, arm, runs)) in enumerate(zip(names, missing, strict=True)):
        sent = try_arm(tracking, store, arm, runs)
        in_a_row = in_a_row + 1 if sent.is_away else 0
        if sent.problem:
            problems.append(sent.problem)
            if in_a_row == FAILURES_IN_A_ROW:
                break
            continue
        unsent.remove(name)
        if sent.unlogged:
            unlogged[name] = sent.unlogged
        if sys.stdout.isatty():
            print(f"{i + 1} of {len(missing)}: {name}")
    lines = [*dict.fromkeys(problems), *([f"{count_unsent(unsent)}."] if problems else []), *damaged]
    if in_a_row:  # the server is away
        return [*lines, *describe_unlogged(unlogged)]
    touched = {store: None for name, (store, _, _) in zip(names, missing, strict=True) if name not in unsent}
    lines += filter(None, (rename_study(tracking, store) for store in touched))
    lacking = {store.study for name, (store, _, _) in zip(names, missing, strict=True) if name in unsent}
    whole = [store for store in stores if store.study not in lacking]
    published = [publish_comparison(tracking, store, reports / store.study) for store in whole]
    return [*lines, *filter(None, published), *describe_unlogged(unlogged)]


def _missing_arms(
    tracking: Tracking, stores: Sequence[RunStore]
) -> tuple[list[tuple[RunStore, str, list[Run]]], list[str]]:
    """The arms that MLflow lacks, as far as that can be known at once, and a line per damaged run, or folder of them;
    prints how many runs have no seal.
    """
    missing, lines = list[tuple[RunStore, str, list[Run]]](), list[str]()
    for store in stores:
        stored, damaged = store.read()
        if unsealed := describe_unsealed(stored):
            print(f"{store.study}: {unsealed}")
        by_arm = [(arm, list(runs)) for arm, runs in groupby(stored, key=lambda run: run.arm)]
        missing += [(store, arm, runs) for arm, runs in by_arm if not up_to_date(tracking, store, arm, runs)]
        for group in group_damaged(damaged):
            kept = f"{store.study}/{group.sentence} and not sent: {group.reason}. MLflow keeps what it has"
            lines.append(f"{kept}; {group.advice}.")
    return missing, lines


def publish_reports(written: Sequence[tuple[RunStore, Path]], results: Path, reports: Path, tracking: Tracking) -> bool:
    """Upload the reports that a comparison wrote, and print what is unsent and the command that sends it.

    written: studies and the folders of their reports. Returns whether the upload is over; if not, it goes on in a
    thread.
    """
    uri = store_uri(tracking)
    command = sync_command(uri, results, reports, tracking.detail)
    retry = f"To send it{password_hint(command)}: {command}"
    unsent, pages, unknown = [store.study for store, _ in written], list[str](), list[str]()

    def publish() -> None:
        for store, folder in written:
            other_means = list[str]()
            if problem := publish_comparison(tracking, store, folder, other_means):
                print(problem, retry, file=sys.stderr)
            elif other_means:
                arms = f"{', '.join(other_means)}: MLflow has the mean of other runs"
                print(f"The report of {store.study} is not at {arms}. {retry}", file=sys.stderr)
            with contextlib.suppress(Exception):  # a line less, where MLflow has gone away since
                pages.append(verdict_page(uri, store.study))
                if not (pages[-1] or problem or other_means):
                    unknown.append(store.study)
            unsent.remove(store.study)

    try:
        wait_for_server(hide_passwords(uri), tracking.wait, "wait", publish)
    except NoAnswerError as error:
        late = f"Could not upload to MLflow at {hide_passwords(uri)}{error}"
        print(f"{late}: the report of {', '.join(unsent)} is unsent. {retry}", file=sys.stderr)
        return False
    for page in filter(None, pages):
        print(page)
    if unknown:
        none = f"{hide_passwords(uri)} has no runs of {', '.join(unknown)}"
        print_sentences([f"Not sent to MLflow: {none}. If another store has them, name it with uri=..."])
        print(retry)  # in one piece, to be copied
    return True
