"""The biases of a saved model: `python -m pipeline.extract MODEL`.

MODEL is a .keras file, a .weights.h5 file, an .h5 or .hdf5 file of any Keras (a whole model or weights alone), the
folder of one of our runs (results/<study>/<arm>/seed=<n>), or runs:/<id> of MLflow (if the run has several models:
runs:/<id>/<name>). Files are read without Keras, and no code in them runs. A run whose files do not match their digests
is refused, and so is each of its files.
Exit code 2: the file or the request is refused, in one line that says why.
"""

from pipeline.runtime.early import end_on_signal

if __name__ == "__main__":
    end_on_signal()  # before the imports, which take a second


import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.biases.command_line import parse_arguments
from pipeline.biases.differences import bias_differences, describe_names
from pipeline.biases.export import export_biases, print_text, write_whole
from pipeline.biases.model_files import read_biases
from pipeline.biases.selection import describe_unknown, select_biases
from pipeline.biases.tables import bias_rows
from pipeline.biases.variables import Bias
from pipeline.installation import help_text
from pipeline.models.saved import load_model_biases
from pipeline.runtime.gate import guard
from pipeline.runtime.signals import run_command
from pipeline.store.checked import check_run, describe_unsealed

MLFLOW_RUN = "runs:/"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return guard(lambda: _extract(sys.argv[1:] if arguments is None else arguments))


def _extract(arguments: Sequence[str]) -> int:
    """Read the models that the arguments name, and print or write their biases. Returns the exit code."""
    options = parse_arguments(arguments, help_text(__doc__ or ""))
    models = [model for model in (options.model, options.diff) if model is not None]
    selected = []
    for model in models:
        biases = _read(model, options.load, options.wait)
        selected.append(select_biases(biases, model, options.layer, options.kind))
        if line := describe_unknown(biases, model, options.kind):
            print(line, file=sys.stderr)
    if len(selected) == 2 and (line := describe_names(*selected)):
        print(line, file=sys.stderr)
    rows = bias_differences(*selected) if len(selected) == 2 else bias_rows(selected[0])
    content = export_biases(options.format, selected[0], rows)
    if options.output:
        write_whole(content, options.output)
    else:
        print_text(content.decode())
    return 0


def _read(model: str, load: bool, wait: float) -> list[Bias]:
    read = load_model_biases if load else read_biases
    if not model.startswith(MLFLOW_RUN):
        if unsealed := describe_unsealed(check_run(Path(model))):
            print(unsealed, file=sys.stderr)
        return read(Path(model))
    from pipeline.tracking.models import read_model

    return read_model(model, read, wait)


if __name__ == "__main__":
    run_command(main)
