"""Say what a file or folder is that is no saved Keras model, and how its biases can be had all the same."""

import re
from pathlib import Path

from pipeline.errors import one_line

FROM_KERAS = "name the .keras or .h5 file that it was made from"
TEXT = "the architecture of a model, without weights: name the file of its weights (.h5)"
PACKED = "compressed, or an archive: unpack it, and name the model file in it"
PICKLE = "a pickle, which can run code when it is loaded: save a .keras or .h5 file where it comes from"
BY_ENDING = {
    ".tflite": f"a TensorFlow Lite model, which has no layers: {FROM_KERAS}",
    ".onnx": f"an ONNX model, which has no layers of Keras: {FROM_KERAS}",
    ".pb": "a TensorFlow graph: name the SavedModel folder that it lies in, or the .keras or .h5 file it was made from",
    ".pbtxt": f"a TensorFlow graph as text: {FROM_KERAS}",
    ".mlmodel": f"a Core ML model: {FROM_KERAS}",
    **dict.fromkeys((".pt", ".pth"), "a PyTorch file: torch.load(FILE, weights_only=True) has its biases by name"),
    ".safetensors": "a safetensors file: safetensors.numpy.load_file(FILE) has its biases by name",
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), PICKLE),
    ".json": f"a JSON text: {TEXT}",
    **dict.fromkeys((".yaml", ".yml"), f"a YAML text: {TEXT}"),
    **dict.fromkeys((".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".tar", ".rar"), PACKED),
    ".npy": "one array without a name: save biases by path with numpy.savez, under names like dense/bias",
}
CHECKPOINT = (
    "a TensorFlow checkpoint, which is not read: load it into its model, save that as .keras or .h5, and name the file"
    " (tf.train.list_variables shows what is in it)"
)
SAVED_BY_KERAS = (
    "a SavedModel folder of Keras 2, which is not read: make a file of it with the package tf_keras, by"
    " tf_keras.models.load_model(FOLDER).save('model.h5'), and name that"
)
SAVED_MODEL = (
    "a SavedModel folder of TensorFlow, which is not read: name the .keras or .h5 file that it was exported from"
    " (tf.train.list_variables(FOLDER + '/variables/variables') shows what is in it)"
)
# How contents begin that tell what a file is whatever its name: (offset, bytes, the ending that stands for them).
SIGNATURES = ((4, b"TFL3", ".tflite"), (0, b"\x93NUMPY", ".npy"), (0, b"\x1f\x8b", ".gz"), (0, b"BZh", ".bz2"),
              (0, b"\xfd7zXZ\0", ".xz"), (0, b"\x28\xb5\x2f\xfd", ".zst"), (0, b"\x80", ".pkl"))  # fmt: skip
TEXTS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: fetch that with `git lfs pull`",
    b"<!doctype html": "a web page, not the file itself: the download went wrong",
    b"<html": "a web page, not the file itself: the download went wrong",
}
LOOKED_AT = 64  # bytes at the beginning of a file


def describe_file(file: Path) -> str:
    """What a file is that no reader takes, and what to do; empty for a file of no known kind."""
    with file.open("rb") as opened:
        start = opened.read(LOOKED_AT)
    if not start:
        return "an empty file, truncated or never written"
    text = next((text for head, text in TEXTS.items() if start.lstrip().lower().startswith(head)), "")
    ending = file.suffix.lower()
    if text:
        return text
    if file.name == "checkpoint" or ending == ".index" or ".data-" in file.name:
        return CHECKPOINT
    if ending in BY_ENDING and ending not in (".json", ".yaml", ".yml"):
        return BY_ENDING[ending]  # a pickle of PyTorch is PyTorch's
    found = next((name for offset, head, name in SIGNATURES if start.startswith(head, offset)), ending)
    return BY_ENDING.get(found, "")


def describe_archive(names: list[str]) -> str:
    """What a zip archive is that Keras did not save, by the names of its members."""
    if any(name.endswith("data.pkl") for name in names):
        return BY_ENDING[".pt"]
    inner = next((name for name in names if name.lower().endswith((".keras", ".h5", ".hdf5"))), "")
    if inner:
        return f"an archive that contains {inner}: unpack it, and name that file"
    if any(name.endswith("saved_model.pb") for name in names):
        return "an archive of a SavedModel folder: unpack it, and name the folder"
    return ""


def describe_arrays(names: list[str], file_name: str) -> str:
    """What an npz is that has no bias by path, and what to do, by the names of its arrays."""
    if not names:
        return "an npz without arrays"
    named = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    is_data = any(re.fullmatch(r"[xy](_\w+)?", name.lower()) for name in names)
    for_data = f"; data to train on, it seems: data=file data.path={file_name}" if is_data else ""
    return one_line(f"an npz of {named}, none of which is a bias by its path (dense/bias): name a model file{for_data}")


def describe_folder(folder: Path) -> str:
    """What a folder is that is no run of this project, and what to do; empty for a folder of no known kind."""
    names = sorted(member.name for member in folder.iterdir())
    if {"saved_model.pb", "saved_model.pbtxt"} & set(names):
        return SAVED_BY_KERAS if "keras_metadata.pb" in names else SAVED_MODEL
    if "checkpoint" in names or any(name.endswith(".index") for name in names):
        return f"{CHECKPOINT}{models_in(folder)}"
    return ""


def models_in(folder: Path) -> str:
    """The half of a sentence that names the model files in a folder; empty if there are none."""
    models = sorted(m.name for m in folder.iterdir() if m.name.lower().endswith((".keras", ".h5", ".hdf5")))
    more = ", ..." if len(models) > 3 else ""
    return f"; name a file in it: {', '.join(models[:3])}{more}" if models else ""


def describe_missing(path: Path) -> str:
    """What a name stands for that no file has: the beginning of the names of a TensorFlow checkpoint's files."""
    return CHECKPOINT if path.name and path.with_name(f"{path.name}.index").is_file() else ""
