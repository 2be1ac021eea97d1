"""A tiny CIFAR-10 in the binary format, which a small network learns to tell apart, and a recipe for it."""

import numpy as np


def write_cifar(folder, *, train=160, test=40):
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for name, count in [(f"data_batch_{k}.bin", train // 5) for k in range(1, 6)] + [("test_batch.bin", test)]:
        labels = np.arange(count) % 10
        pixels = numbers.integers(0, 80, (count, 3, 32, 32))
        pixels += 80 * (labels[:, None] // 3 ** np.arange(3) % 3)[:, :, None, None]  # a colour for each class
        records = np.concatenate([labels[:, None], pixels.reshape(count, -1)], axis=1)
        records.astype(np.uint8).tofile(folder / name)
    return folder


RECIPE = """
data: {source: cifar, size: 32}
network: {widths: [8, 16], depths: [1, 1], drop_path: 0.2}
augmentation: {crop: shift, pad: 2, erasing: 0.25, mixup: 0.8, cutmix: 1.0, label_smoothing: 0.1}
optimizer: {learning_rate: 3e-2, layer_decay: 0.9, warmup_epochs: 0.5}
loop: {epochs: 3, batch: 32, precision: fp32, average: 0.9, test_batch: 16}
"""
