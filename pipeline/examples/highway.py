"""A Highway layer, for `code=[...]`: `{class_name: 'examples>Highway', config: {activation: tanh}}`.

y = H(x) T(x) + x (1 - T(x)), with H(x) = f(x W + b_H) and the transform gate T(x) = sigmoid(x W_T + b_T). The setting
of the biases goes to b_T alone; b_H starts at zeros. Source: Srivastava, Greff and Schmidhuber 2015, "Training Very
Deep Networks" (NeurIPS).
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="examples")
class Highway(keras.layers.Layer):
    """A Dense layer of as many units as inputs, mixed with its own input by a gate."""

    def __init__(
        self, activation: Any = "tanh", use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros", **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(**more)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: Any) -> None:
        """Make the kernels of the layer and its gate, [units, 2 units], and their biases."""
        units = input_shape[-1]
        self.kernel = self.add_weight(shape=(units, 2 * units), initializer=self.kernel_initializer, name="kernel")
        self.plain_bias = self.add_weight(shape=(units,), initializer="zeros", name="plain_bias")
        if self.use_bias:
            self.bias = self.add_weight(shape=(units,), initializer=self.bias_initializer, name="bias")

    def call(self, inputs: Any) -> Any:
        """Mix what the layer computes of the inputs with the inputs."""
        plain, gate = keras.ops.split(keras.ops.matmul(inputs, self.kernel), 2, axis=-1)
        gate = keras.ops.sigmoid(gate + self.bias if self.use_bias else gate)
        return self.activation(plain + self.plain_bias) * gate + inputs * (1 - gate)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return super().get_config() | {
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
