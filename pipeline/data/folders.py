"""The pictures below a folder: the class of each by its folder, and its part where folders say train and test."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from pipeline.data.assignment import WORDS
from pipeline.data.dataset import REST
from pipeline.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# parts of which it is unclear what they are for; none of them is a class
UNCLEAR = {"eval", "evaluation", "pred", "prediction", "predict", "holdout", "unlabeled", "unlabelled", "submission"}

# words beside that of a part which say nothing else: of train_images and training_set
PLAIN = "set sets data dataset datasets image images img imgs picture pictures photo photos file files samples split"
PLAIN_WORDS = frozenset(PLAIN.split())

Place = tuple[str, ...]  # the folders from the root to a picture, and its name


def image_files(root: Path) -> Iterator[Path]:
    """Every picture below a folder, in the order of their paths."""
    for path in _files(root):
        if path.suffix.lower() in SUFFIXES and not _is_hidden(path, root):
            yield path


def list_images(root: Path, remarks: list[str]) -> tuple[list[Path], list[str], list[int]]:
    """(files, class of each, part of each). Raises DataError where folders may be parts or classes."""
    files, own_name = list(image_files(root)), root.name or root.resolve().name  # that of `.` is empty
    if not files:
        raise _loose("there is no picture in it", own_name)
    others = sum(not _is_hidden(path, root) and path.suffix.lower() not in SUFFIXES for path in _files(root))
    if others:
        remarks.append(f"{root.name}: {others} files are no pictures and are left out")
    above, places = _without_lone_folders([path.relative_to(root).parts for path in files])
    name = "/".join((own_name, *above))
    if above:
        remarks.append(f"{root.name}: it holds one folder, and the classes are those of {name}")
    of_top = _parts({place[0] for place in places if len(place) > 1})
    in_parts = bool(of_top) and None not in of_top.values()
    loose = [place for place in places if len(place) <= 1 + in_parts]
    if loose:
        raise _loose(f"{'/'.join((*above, *loose[0]))} lies in no folder of a class", name)
    if not in_parts:
        _check_classes(places, of_top, name, remarks)
        return files, [place[0] for place in places], [REST] * len(files)
    parts = [WORDS[of_top[place[0]] or ""] for place in places]
    labels = [place[0] for place in _below_parts(places)]
    _check_parts(labels, parts, {top: WORDS[word or ""] for top, word in of_top.items()}, name)
    return files, labels, parts


def _parts(folders: Collection[str]) -> dict[str, str | None]:
    """The word of WORDS by which each folder is called, such as `train` of Train Images; None for none.

    Beside it stand a number or a word such as set, or what stands in folders of other parts too (seg_train, seg_test):
    freight_train and passenger_train are no parts.
    """
    words = {folder: _words(folder) for folder in folders}
    found = {folder: [word for word in words[folder] if word in WORDS] for folder in folders}
    affix = {folder: tuple(w for w in words[folder] if w not in WORDS and w not in PLAIN_WORDS) for folder in folders}
    roles: dict[tuple[str, ...], set[int]] = {}
    for folder in folders:
        roles.setdefault(affix[folder], set()).update(WORDS[word] for word in found[folder])
    return {
        folder: found[folder][0]
        if len({WORDS[word] for word in found[folder]}) == 1 and (not affix[folder] or len(roles[affix[folder]]) > 1)
        else None
        for folder in folders
    }


def _words(folder: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", folder).lower()) if word]


def _without_lone_folders(places: list[Place]) -> tuple[Place, list[Place]]:
    """(folders from the root on that hold nothing but the next one, places below them). Parts and classes are kept."""
    above: Place = ()
    while (top := _lone(places)) is not None and _parts([top])[top] is None:
        above, places = (*above, top), [place[1:] for place in places]
    return above, places


def _lone(places: list[Place]) -> str | None:
    """The only folder of these places, if it holds folders alone; else None."""
    tops = {place[0] for place in places}
    return next(iter(tops)) if len(tops) == 1 and all(len(place) > 2 for place in places) else None


def _below_parts(places: list[Place]) -> list[Place]:
    """Places below the folders of parts, and below a further folder where each part holds but one."""
    below = [place[1:] for place in places]
    of_part: dict[str, list[Place]] = {}
    for place in places:
        of_part.setdefault(place[0], []).append(place[1:])
    if all(_lone(inner) is not None for inner in of_part.values()):
        return [place[1:] for place in below]
    return below


def _check_classes(places: list[Place], of_top: dict[str, str | None], name: str, remarks: list[str]) -> None:
    """Refuse folders that look like parts of the data as classes."""
    nested = of_top.keys() - {place[0] for place in places if len(place) == 2}
    parts = [top for top, word in sorted(of_top.items()) if word is not None]
    unclear = [top for top in sorted(of_top) if UNCLEAR.intersection(_words(top))]
    # a vehicle, or the class that is not control: parts of the data are at least two
    one_class = len(parts) == 1 and not unclear and not nested.intersection(parts)
    if parts and not one_class:
        rest = [top for top in sorted(of_top) if top not in parts]
        raise DataError(
            f"data.path: {name} has the parts {', '.join(parts[:5])} beside {', '.join(rest[:5])}; allowed: folders of "
            "classes alone, or of train, test and validation alone (move the others away)"
        )
    if parts:
        remarks.append(f"{name}: its folder {parts[0]} is taken for a class, since other classes are beside it")
    inner: dict[str, set[str]] = {}
    for top, sub in {place[:2] for place in places if place[0] in nested}:
        inner.setdefault(top, set()).add(sub)
    counts = Counter(sub for subs in inner.values() for sub in subs)
    repeated = sorted(sub for sub, n in counts.items() if n > 1)
    if repeated and len(counts) > 1:
        shown, both = repeated[0], sorted(top for top, subs in inner.items() if repeated[0] in subs)
        raise DataError(
            f"data.path: {name} has {shown} in {' and '.join(both[:3])}, so that either may be the classes; allowed: "
            "pictures right in the folder of their class, or parts called train, test and validation"
        )


def _check_parts(labels: list[str], parts: list[int], of_top: dict[str, int], name: str) -> None:
    twice = [sorted(top for top in of_top if of_top[top] == part) for part in sorted(set(of_top.values()))]
    for tops in twice:
        if len(tops) > 1:
            raise DataError(
                f"data.path: {name} has {' and '.join(tops[:3])}, which are the same part; allowed: one of them"
            )
    if REST not in parts:
        raise DataError(
            f"data.path: {name} has the parts {', '.join(sorted(of_top))}; allowed: train, and perhaps test and "
            "validation"
        )
    known = {label for label, part in zip(labels, parts, strict=True) if part == REST}
    unknown = sorted(set(labels) - known)
    if unknown:
        raise DataError(
            f"data.path: no training picture of {name} is of class {', '.join(unknown[:5])}; allowed: the "
            "same classes in each part"
        )


def _loose(what: str, name: str) -> DataError:
    return DataError(
        f"data.path: {what} ({name}); allowed: {name}/class/picture.png, or {name}/train/class/... and test"
    )


def _files(root: Path) -> list[Path]:
    """Every file below a folder in the order of their paths, those in folders that are linked to included."""
    found = []
    for folder, inner, names in os.walk(root, followlinks=True):
        here = Path(folder)
        above = {place.resolve() for place in (here, *here.parents)}
        # a link to a folder that it was reached through would be followed without end
        inner[:] = [name for name in inner if (here / name).resolve() not in above]
        found += [path for name in names if (path := here / name).is_file()]
    return sorted(found, key=lambda path: path.relative_to(root).parts)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.relative_to(root).parts)
