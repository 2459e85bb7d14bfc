"""Folders of pictures: a class per folder, of one size, grey or in colour."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.config.schema import Data
from pipeline.data.dataset import REST, TEST, VALIDATION
from pipeline.data.folders import list_images
from pipeline.data.sources import data_identity, load_dataset
from pipeline.data.splits import split_rows
from pipeline.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def settings(folder: Path, **more: Any) -> Data:
    return Data(name="pictures", source="images", path=str(folder), **more)


def save(folder: Path, name: str, pixels: np.ndarray, **more: Any) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name, **more)
    return pixels


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def animals(root: Path, *shape: int, n: int = 6, suffix: str = "png") -> list[np.ndarray]:
    """Some pictures of cats, then as many of dogs."""
    return [save(root / kind, f"{i}.{suffix}", pixels(*shape)) for kind in ("cat", "dog") for i in range(n)]


@pytest.mark.parametrize("suffix", ["png", "BMP", "tif", "gif"])
def test_grey_pictures_have_one_channel(suffix: str, tmp_path: Path) -> None:
    """Each picture is a row, and its folder its class; other files and hidden ones are left out, and that is said."""
    drawn = animals(tmp_path, 5, 4, suffix=suffix)
    (tmp_path / "cat" / "notes.txt").write_text("x")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.png").write_text("x")
    loaded = load_dataset(settings(tmp_path))
    np.testing.assert_array_equal(loaded.x[..., 0], np.stack(drawn).astype(np.float32))
    assert (loaded.x.shape, loaded.classes, loaded.y.tolist()) == ((12, 5, 4, 1), ("cat", "dog"), [0] * 6 + [1] * 6)
    assert any(line.endswith(": 1 files are no pictures and are left out") for line in loaded.remarks)


def test_colour_pictures_have_three(tmp_path: Path) -> None:
    """One picture in colour makes all of them RGB."""
    drawn = animals(tmp_path, 5, 4, 3)
    grey = save(tmp_path / "dog", "grey.png", pixels(5, 4))
    loaded = load_dataset(settings(tmp_path))
    np.testing.assert_array_equal(loaded.x[:-1], np.stack(drawn).astype(np.float32))
    np.testing.assert_array_equal(loaded.x[-1], np.stack([grey] * 3, axis=2).astype(np.float32))


def test_deep_pictures_keep_their_values(tmp_path: Path) -> None:
    """16 bits per pixel are not cut to 8."""
    drawn = [
        save(tmp_path / "ab"[i % 2], f"{i}.png", RNG.integers(0, 65536, (4, 4), dtype=np.uint16)) for i in range(8)
    ]
    loaded = load_dataset(settings(tmp_path))
    assert loaded.x.max() > 255
    assert sorted(loaded.x.reshape(8, -1).sum(1)) == sorted(float(d.sum()) for d in drawn)


def test_sizes(tmp_path: Path) -> None:
    """Pictures of several sizes are refused with what to set; then they are resized as Pillow does it."""
    drawn = animals(tmp_path, 8, 8)
    other = save(tmp_path / "dog", "wide.png", pixels(8, 12))
    with pytest.raises(
        ConfigError, match=r"^data\.image_size: null given, but the pictures .* have 2 sizes \(8x8, 8x12\)"
    ):
        load_dataset(settings(tmp_path))
    loaded = load_dataset(settings(tmp_path, image_size=[4, 6]))
    for row, original in ((0, drawn[0]), (12, other)):
        expected = np.asarray(Image.fromarray(original).resize((6, 4), Image.Resampling.BILINEAR), np.float32)
        np.testing.assert_array_equal(loaded.x[row, ..., 0], expected)


def test_a_turned_photo_stands_upright(tmp_path: Path) -> None:
    """The orientation that a camera notes is applied before sizes are compared."""
    animals(tmp_path, 6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save(tmp_path / "dog", "9.png", pixels(4, 6), exif=exif)
    loaded = load_dataset(settings(tmp_path))
    np.testing.assert_array_equal(loaded.x[-1, ..., 0], np.rot90(turned, -1).astype(np.float32))


def test_folders_of_parts(tmp_path: Path) -> None:
    """train, test and validation that hold the classes are the parts of every seed."""
    for part, n in (("train", 8), ("test", 3), ("val", 2)):
        animals(tmp_path / part, 4, 4, n=n)
    data = settings(tmp_path)
    loaded = load_dataset(data)
    assert loaded.parts is not None
    assert [int((loaded.parts == part).sum()) for part in (REST, VALIDATION, TEST)] == [16, 4, 6]
    assert len(split_rows(loaded, data, 5).train) == 16
    save(tmp_path / "test" / "cow", "a.png", pixels(4, 4))
    with pytest.raises(ConfigError, match="is of class cow; allowed: the same classes"):
        load_dataset(data)


def test_the_identity_is_that_of_the_pictures(tmp_path: Path) -> None:
    """A changed, added or moved picture is another dataset; a copy of the folder is the same."""
    animals(tmp_path / "one", 4, 4)
    first = data_identity(settings(tmp_path / "one"))
    assert str(tmp_path) not in str(first)
    for path in (tmp_path / "one").rglob("*.png"):
        save(tmp_path / "two" / path.parent.name, path.name, np.asarray(Image.open(path)))
    assert data_identity(settings(tmp_path / "two")) == first
    (tmp_path / "two" / "cat" / "1.png").rename(tmp_path / "two" / "dog" / "99.png")
    assert data_identity(settings(tmp_path / "two"))["file"] != first["file"]


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, loose, broken, too large or does not fit pictures is named in a line."""

    def refusal(folder: Path, **more: Any) -> str:
        with pytest.raises(ConfigError) as error:
            load_dataset(settings(folder, **more))
        return str(error.value)

    assert refusal(tmp_path / "gone").startswith("data.path: ") and "does not exist" in refusal(tmp_path / "gone")
    assert "there is no picture" in refusal(tmp_path)
    animals(tmp_path, 8, 8)
    for key, value in {"target": "a", "separator": ";", "split": "groups", "missing": "drop", "drop": ["a"]}.items():
        assert refusal(tmp_path, **{key: value}).startswith(f"data.{key}: ")
    assert refusal(tmp_path, task="regression").startswith("data.task: regression given")
    for size in (0, "big", [1, 2, 3], True):
        assert refusal(tmp_path, image_size=size).startswith("data.image_size: ")
    monkeypatch.setattr("pipeline.data.images.free_memory", lambda: 10_000)
    line = refusal(tmp_path, image_size=100)
    assert "a smaller data.image_size" in line and "KiB of memory, but 9.8 KiB are free" in line
    monkeypatch.undo()
    (tmp_path / "dog" / "bad.png").write_bytes((tmp_path / "dog" / "1.png").read_bytes()[:-30])
    assert "dog/bad.png cannot be read as a picture" in refusal(tmp_path)
    (tmp_path / "dog" / "bad.png").write_text("text")
    assert "dog/bad.png cannot be read as a picture" in refusal(tmp_path)
    (tmp_path / "dog" / "bad.png").rename(tmp_path / "loose.png")
    assert "loose.png lies in no folder of a class" in refusal(tmp_path)


def test_folders_without_a_test_part(tmp_path: Path) -> None:
    """The pictures of val are the validation rows of every seed, and the test rows are drawn from train."""
    for part, n in (("train", 10), ("val", 3)):
        animals(tmp_path / part, 4, 4, n=n)
    data = settings(tmp_path)
    loaded = load_dataset(data)
    assert loaded.parts is not None
    for seed in (0, 1):
        cut = split_rows(loaded, data, seed)
        assert sorted(cut.validation) == np.flatnonzero(loaded.parts == VALIDATION).tolist()
        assert (len(cut.train), len(cut.test)) == (16, 4)
        assert (loaded.parts[cut.test] == REST).all()


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    """A class may be a link to its folder; links in a circle are not followed."""
    drawn = animals(tmp_path / "store", 4, 4)
    (tmp_path / "mine").mkdir()
    for kind in ("cat", "dog"):
        (tmp_path / "mine" / kind).symlink_to(tmp_path / "store" / kind)
    (tmp_path / "store" / "cat" / "again").symlink_to(tmp_path / "store")
    (tmp_path / "mine" / "dog" / "self").symlink_to(tmp_path / "store" / "dog")
    loaded = load_dataset(settings(tmp_path / "mine"))
    assert loaded.classes == ("cat", "dog")
    np.testing.assert_array_equal(loaded.x[-6:, ..., 0], np.stack(drawn[6:]).astype(np.float32))
    before = data_identity(settings(tmp_path / "mine"))
    save(tmp_path / "store" / "dog", "0.png", pixels(4, 4))
    assert data_identity(settings(tmp_path / "mine")) != before


@pytest.mark.parametrize("mode", ["P", "RGBA", "L"])
def test_transparency_is_said(mode: str, tmp_path: Path) -> None:
    """However a file says that pixels are transparent, a remark tells that their colour counts."""
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for i in range(4):
            more = {} if mode == "RGBA" else {"transparency": 0}
            Image.fromarray(pixels(4, 4, 4)).convert("RGB" if mode == "P" else "RGBA").convert(mode).save(
                tmp_path / kind / f"{i}.png", **more
            )
    assert any("are transparent in places" in line for line in load_dataset(settings(tmp_path)).remarks)


def layout(root: Path, *places: str) -> Path:
    """Three pictures in each of these folders."""
    for place in places:
        for i in range(3):
            save(root / place, f"{i}.png", pixels(2, 2))
    return root


IN_PARTS = {
    "sets": ["training_set/cat", "training_set/dog", "test_set/cat", "test_set/dog"],
    "before the word": ["seg_train/cat", "seg_train/dog", "seg_test/cat", "seg_test/dog"],
    "other words": ["Train Images/cat", "Train Images/dog", "testImages/cat", "testImages/dog"],
    "doubled": ["seg_train/seg_train/cat", "seg_train/seg_train/dog", "seg_test/seg_test/cat", "seg_test/seg_test/dog"],
    "below one folder": ["pets/train/cat", "pets/train/dog", "pets/test/cat", "pets/test/dog"],
}


@pytest.mark.parametrize("places", IN_PARTS.values(), ids=IN_PARTS.keys())
def test_folders_that_are_called_like_parts(places: list[str], tmp_path: Path) -> None:
    """However a folder says train and test, the classes are the folders below."""
    loaded = load_dataset(settings(layout(tmp_path, *places)))
    assert loaded.classes == ("cat", "dog") and loaded.parts is not None
    assert sorted(loaded.parts.tolist()) == [REST] * 6 + [TEST] * 6


CLASSES = {
    "trains": ["bus", "freight_train", "passenger_train"],
    "tests": ["test_negative", "test_positive"],
    "kinds of tests": ["PCR_test", "antigen_test"],
    "validity": ["invalid", "valid"],
    "a drive": ["commute", "test_drive"],
    "rooms": ["kitchen", "meeting room", "testing room"],
    "a track": ["bus", "test_track", "train", "tram"],
    "stations": ["airport", "train_interior", "train_station"],
    "a control": ["control", "test"],
}


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES.keys())
def test_classes_that_have_a_word_of_parts(classes: list[str], tmp_path: Path) -> None:
    """Folders of pictures are classes, also where one is called like a part; what is meant by it is said."""
    loaded = load_dataset(settings(layout(tmp_path, *classes)))
    assert loaded.classes == tuple(classes) and loaded.parts is None
    alone = [name for name in classes if name in ("train", "test", "valid")]
    assert [name for name in alone if not any(f"folder {name} is taken for a class" in r for r in loaded.remarks)] == []


UNCLEAR = {
    "pictures in parts": (["seg_train", "seg_test"], "lies in no folder of a class"),
    "three parts": (["train", "test", "other"], "the parts test, train beside other"),
    "domains": (["trainA/x", "testA/x", "trainB/x", "testB/x"], "which are the same part"),
    "train and eval": (["train/cat", "train/dog", "eval/cat", "eval/dog"], "the parts train beside eval"),
    "a third folder": (["train/cat", "train/dog", "test/cat", "test/dog", "raw/x"], "test, train beside raw"),
    "prediction": (["seg_train/cat", "seg_train/dog", "seg_test/cat", "seg_test/dog", "seg_pred"], "beside seg_pred"),
    "no classes": (["train", "test1"], "lies in no folder of a class"),
    "no classes, eval": (["train", "eval"], "the parts train beside eval"),
    "folds": (["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"], "has cat in fold1 and fold2"),
    "two of a part": (["train/cat", "train/dog", "training_set/cat", "training_set/dog"], "which are the same part"),
}


@pytest.mark.parametrize(("places", "words"), UNCLEAR.values(), ids=UNCLEAR.keys())
def test_folders_that_may_be_parts_are_no_classes(places: list[str], words: str, tmp_path: Path) -> None:
    """What looks like parts of the data is refused rather than learnt as classes."""
    with pytest.raises(ConfigError, match=r"^data\.path: ") as error:
        load_dataset(settings(layout(tmp_path, *places)))
    assert words in str(error.value)


def test_folders_of_classes_stay_classes(tmp_path: Path) -> None:
    """A vehicle called train, folders within a class, and a folder above the classes."""
    for i, (places, classes, word) in enumerate([
        (["bus", "train"], ("bus", "train"), "folder train is taken for a class"),
        (["cat/images", "dog/images"], ("cat", "dog"), ""),
        (["cat/2020", "dog/2021"], ("cat", "dog"), ""),
        (["data/cat", "data/dog"], ("cat", "dog"), "holds one folder"),
    ]):  # fmt: skip
        loaded = load_dataset(settings(layout(tmp_path / str(i), *places)))
        assert loaded.classes == classes and loaded.parts is None
        assert any(word in line for line in loaded.remarks)


def test_the_working_directory_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`data.path=.` has no name of its own: the refusal has that of the folder."""
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    with pytest.raises(DataError, match=r"there is no picture in it \(pets\); allowed: pets/class/picture.png"):
        list_images(Path(), [])
    save(Path(), "a.png", pixels(4, 4))
    with pytest.raises(DataError, match=r"a.png lies in no folder of a class \(pets\)"):
        list_images(Path(), [])
