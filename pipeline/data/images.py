"""Make a dataset of a folder of pictures: a folder per class, or folders for the parts with those in them."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import Data, expand_home
from pipeline.data.dataset import Dataset
from pipeline.data.folders import list_images
from pipeline.data.settings import image_size
from pipeline.data.targets import make_dataset
from pipeline.errors import DataError, describe_size
from pipeline.runtime.device import free_memory

DEEP = ("I", "F")  # Pillow's modes with more than 8 bits per pixel begin with these
BYTES_PER_VALUE = 5  # as it is read, and as float32


def load_images(data: Data) -> Dataset:
    """Read the pictures of `data.path`, each [height, width, channels]: 1 channel if all are grey, else 3.

    The values are those of the file, 0 to 255 or what deeper pictures hold. Raises DataError.
    """
    root = image_folder(data)
    remarks: list[str] = []
    files, labels, parts = list_images(root, remarks)
    size, grey = _measure(files, data, root, remarks)
    values = len(files) * size[0] * size[1] * (1 if grey else 3)
    needed, free = values * BYTES_PER_VALUE, free_memory()
    if needed > free:
        raise DataError(
            f"data.path: the {len(files)} pictures of {root.name} take {describe_size(needed)} of memory, but "
            f"{describe_size(free)} are free; allowed: a smaller data.image_size"
        )
    x = np.zeros((len(files), *size, 1 if grey else 3), np.float32)
    for i, path in enumerate(files):
        x[i] = _read(path, size, grey)
    remarks.append(f"{root.name}: {len(files)} pictures of {size[0]}x{size[1]} pixels, {'grey' if grey else 'colour'}")
    roles = {"parts": np.array(parts, np.int8) if any(parts) else None}
    return make_dataset(x, np.array(labels), ["folder"], data, root.name, remarks, **roles)


def image_folder(data: Data) -> Path:
    """The folder of pictures. Raises DataError where it is missing."""
    if data.path is None:
        raise DataError("data.path", None, "a folder with a folder of pictures per class")
    path = expand_home(data.path)
    if not path.is_dir():
        what = "is a file" if path.is_file() else "does not exist"
        raise DataError("data.path", data.path, "a folder with a folder of pictures per class", reason=f"which {what}")
    return path


def _measure(files: list[Path], data: Data, root: Path, remarks: list[str]) -> tuple[tuple[int, int], bool]:
    """((height, width), whether all are grey) by the files' headers."""
    sizes, modes, transparent = Counter(), set(), False
    for path in files:
        with _opened(path) as picture:
            turned = picture.getexif().get(0x0112, 1) >= 5
            sizes[picture.size if turned else picture.size[::-1]] += 1
            modes.add(_mode(picture))
            transparent |= picture.mode.endswith(("A", "a")) or "transparency" in picture.info
    if transparent:
        remarks.append(f"{root.name}: some pictures are transparent in places, where their colour counts all the same")
    deep = {mode for mode in modes if mode.startswith(DEEP)}
    if deep and deep != modes:
        raise DataError(
            f"data.path: {root.name} has pictures of 8 bits per pixel and deeper ones; allowed: one of them"
        )
    size = image_size(data)
    if size is None and len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for (height, width), _ in sizes.most_common(3))
        raise DataError("data.image_size", None, "the size to bring them to, such as 64",
                        reason=f"but the pictures of {root.name} have {len(sizes)} sizes ({shown})")  # fmt: skip
    return size or next(iter(sizes)), modes <= {"1", "L", "LA", *deep}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The Pillow image of a file; what goes wrong with it in the context is a DataError that names the file."""
    from PIL import Image

    broken = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as picture:
                yield picture
        except broken as error:
            name = f"{path.parent.name}/{path.name}"
            why = f"cannot be read as a picture: {str(error).replace(str(path), path.name)}"
            raise DataError(f"data.path: {name} {why}; allowed: pictures that Pillow opens") from error


def _mode(picture: Any) -> str:
    """Pillow's mode, or L for a palette of greys, as GIF files have."""
    palette = picture.getpalette("RGB") if picture.mode == "P" else None
    is_grey = palette is not None and palette[0::3] == palette[1::3] == palette[2::3]
    return "L" if is_grey else picture.mode


def _read(path: Path, size: tuple[int, int], grey: bool) -> np.ndarray:
    """[height, width, channels] of the first frame, upright, resized with bilinear interpolation."""
    from PIL import Image, ImageOps

    with _opened(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if picture.mode.startswith(DEEP):
            upright = Image.fromarray(np.asarray(upright, np.float32))
        else:
            upright = upright.convert("L" if grey else "RGB")
        if upright.size != (size[1], size[0]):
            upright = upright.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        values = np.asarray(upright, np.float32)
    return values[..., None] if values.ndim == 2 else values
