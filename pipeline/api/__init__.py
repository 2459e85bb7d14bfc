"""The door for Python and notebooks: `compare_initializers` asks the question of a model and data in memory.

from pipeline.api import compare_initializers

study = compare_initializers(model, (x, y), arms=["no_bias", "zeros", "ones"], seeds=10, epochs=20)
study.headline, study.table, study.verdicts["ones"], study.biases(), study.chart("intervals"), study.save("report")
"""

from pipeline.api.charts import Chart
from pipeline.api.compare import compare_initializers
from pipeline.api.study import Study, UnknownArmError
from pipeline.errors import ConfigError, DataError, ModelFileError, PipelineError

__all__ = [
    "Chart",
    "ConfigError",
    "DataError",
    "ModelFileError",
    "PipelineError",
    "Study",
    "UnknownArmError",
    "compare_initializers",
]
