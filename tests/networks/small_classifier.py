"""A small classifier with three depthwise layers of smooth filters, and images for it."""

import torch
from torch import nn

LAYERS = ("1", "5", "9")


def classifier(seed=0, norm=True, classes=5):
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs, kernel in ((3, 8, 5), (8, 12, 3), (12, 6, 5)):
        depthwise = nn.Conv2d(outputs, outputs, kernel, padding=kernel // 2, groups=outputs)
        with torch.no_grad():
            rough = torch.randn(outputs, 1, kernel + 2, kernel + 2)
            depthwise.weight.copy_(nn.functional.avg_pool2d(rough, 3, stride=1))
        between = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        layers += [nn.Conv2d(inputs, outputs, 1), depthwise, between, nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes))
    for _ in range(20):
        network(images(64, seed=9))  # statistics for batch norms
    return network.eval()


def images(count=40, seed=1, side=12):
    generator = torch.Generator().manual_seed(seed)
    rough = torch.randn(count, 3, side + 4, side + 4, generator=generator)
    return nn.functional.avg_pool2d(rough, 5, stride=1)
