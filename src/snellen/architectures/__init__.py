"""Network architectures for classification and regression, from simple to complex."""

from __future__ import annotations

from typing import Any

from snellen.architectures import (
    alexnet,
    cifar,
    convnet,
    densenet,
    efficientnet,
    googlenet,
    lenet,
    mobilenet,
    residual_mlp,
    resnet,
    timm_models,
    vgg,
)
from snellen.architectures.architecture import Architecture

ARCHITECTURES: dict[str, Architecture[Any]] = {
    architecture.name: architecture
    for architecture in (
        residual_mlp.RESIDUAL_MLP,
        lenet.LENET,
        convnet.CONVNET,
        cifar.RESNET20,
        cifar.RESNET32,
        cifar.RESNET44,
        cifar.RESNET56,
        cifar.RESNET110,
        cifar.RESNET164,
        cifar.PLAIN20,
        cifar.PLAIN32,
        cifar.PLAIN44,
        cifar.PLAIN56,
        mobilenet.MOBILENETV2,
        efficientnet.EFFICIENTNET_LITE0,
        densenet.DENSENET121,
        googlenet.GOOGLENET,
        resnet.RESNET18,
        resnet.RESNET34,
        resnet.RESNET50,
        resnet.RESNET101,
        resnet.RESNEXT50,
        resnet.RESNEXT101,
        alexnet.ALEXNET,
        vgg.VGG11,
        vgg.VGG13,
        vgg.VGG16,
        vgg.VGG19,
        timm_models.TIMM,
    )
}
