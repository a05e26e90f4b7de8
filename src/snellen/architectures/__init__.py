"""Network architectures for classification and regression, from simple to complex."""

from __future__ import annotations

from typing import Any

from snellen.architectures import (
    alexnet,
    audio,
    cifar,
    convnet,
    convnet1d,
    convnet3d,
    densenet,
    efficientnet,
    googlenet,
    lenet,
    mobilenet,
    pointnet,
    recurrent,
    residual_mlp,
    resnet,
    timm_models,
    vgg,
)
from snellen.architectures.architecture import Architecture

_ORDERED: tuple[Architecture[Any], ...] = (
    residual_mlp.RESIDUAL_MLP,
    convnet1d.CONVNET1D,
    recurrent.RNN_NETWORK,
    recurrent.LSTM_NETWORK,
    recurrent.GRU_NETWORK,
    convnet3d.CONVNET3D,
    pointnet.POINTNET,
    audio.LOG_MEL_CONVNET,
    lenet.LENET,
    convnet.CONVNET,
    *cifar.RESIDUAL,
    *cifar.PLAIN,
    mobilenet.MOBILENETV2,
    efficientnet.EFFICIENTNET_LITE0,
    densenet.DENSENET121,
    googlenet.GOOGLENET,
    *resnet.RESNETS,
    *resnet.RESNEXTS,
    alexnet.ALEXNET,
    *vgg.VGGS,
    timm_models.TIMM,
)

ARCHITECTURES = {architecture.name: architecture for architecture in _ORDERED}
