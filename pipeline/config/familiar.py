"""What users of Keras type for a setting that has another name here."""

_RATE, _STOP = "optimizer.learning_rate=...", "training.stop={patience:5}, Keras' EarlyStopping for each seed"
_LAYER = "it in a layer of a model file, conf/model/mine.yaml, used with model=mine"
_LAYERS = ("activation", "dropout", "units", "filters", "hidden_units", "layers", "kernel_regularizer", "input_shape")
_OF_OPTIMIZERS = ("momentum", "nesterov", "beta_1", "beta_2", "rho", "weight_decay", "clipnorm", "clipvalue")
_STOPPING = ("early_stopping", "earlystopping", "patience", "min_delta", "restore_best_weights", "callbacks")

# By the last part of the key that is typed: what to type instead.
FAMILIAR = {
    **dict.fromkeys(("lr", "learningrate", "alpha"), _RATE),
    **dict.fromkeys(_STOPPING, _STOP),
    **dict.fromkeys(_LAYERS, _LAYER),
    **{name: f"optimizer.config.{name}=..." for name in _OF_OPTIMIZERS},
    **dict.fromkeys(("n_epochs", "num_epochs"), "training.epochs=..."),
    **dict.fromkeys(("batch", "bs"), "training.batch_size=..."),
    **dict.fromkeys(
        ("seed", "n_seeds", "num_seeds", "random_state", "repeats"), "seeds=10 for the seeds 0 to 9, or [3,7]"
    ),
    **dict.fromkeys(("initializer", "init", "bias_init", "biases"), "bias_initializer=..."),
    **dict.fromkeys(("bias", "with_bias"), "use_bias=true or use_bias=false"),
    **dict.fromkeys(("dataset", "csv", "file"), "data=file data.path=mine.csv data.target=label"),
    **dict.fromkeys(("label", "labels", "target_column"), "data.target=..."),
    **dict.fromkeys(("validation_split", "val_split"), "data.validation_fraction=..., drawn anew for each seed"),
    **dict.fromkeys(("test_size", "test_split"), "data.test_fraction=..."),
    **dict.fromkeys(("uri", "tracking_uri", "mlflow_uri", "mlflow_tracking_uri"), "tracking.uri=..."),
    "verbose": "-q for less output; there is no more of it",
    **dict.fromkeys(("gpu", "cpu"), "runtime=gpu or runtime=cpu"),
}
