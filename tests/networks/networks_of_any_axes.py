"""Small classifiers of sequences, images and volumes with inputs, and real modules of speech and of language."""

import torch
from torch import nn

import torchvision_placeholder

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
SIDES = {1: (24,), 2: (9, 12), 3: (5, 8, 9)}
KERNELS = {1: ((4,), (7,)), 2: ((4, 5), (3, 2)), 3: ((3, 4, 5), (1, 3, 3))}
"""Of the two depthwise layers; some sides are even."""

LAYERS = ("1", "5")
CLASSES = 5


def classifier(axes: int, seed: int = 0) -> nn.Sequential:
    """Return a network of two depthwise layers, the first before a batch norm that has seen inputs."""
    convolution, (first, second) = CONVOLUTIONS[axes], KERNELS[axes]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            convolution(2, 6, 1),
            convolution(6, 6, first, padding=1, groups=6),
            NORMS[axes](6),
            nn.ReLU(inplace=True),
            convolution(6, 4, 1),
            convolution(4, 8, second, groups=4),
            nn.ReLU(),
            POOLS[axes](1),
            nn.Flatten(),
            nn.Linear(8, CLASSES),
        )
    for _ in range(20):
        network(inputs(axes, 32, seed=9))
    return network.eval()


def inputs(axes: int, count: int = 24, seed: int = 1) -> torch.Tensor:
    """Return inputs that vary smoothly along the last axis."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, *SIDES[axes], generator=generator).cumsum(-1) / 3


class NextToken(nn.Module):
    """Classifies sequences of tokens by the token that follows."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network(tokens, use_cache=False).logits[:, -1]


def mamba() -> NextToken:
    """Return a language model whose causal convolutions are never called, only their weights are used."""
    torchvision_placeholder.install()
    from transformers import MambaConfig, MambaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = MambaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=2, state_size=4, time_step_rank=2)
        network = MambaForCausalLM(config)
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.data.mul_(8.0)  # so that the outputs depend on the inputs
    return NextToken(network.eval())


def tokens(count: int = 24, seed: int = 1) -> torch.Tensor:
    return torch.randint(20, (count, 18), generator=torch.Generator().manual_seed(seed))


def conformer() -> nn.Module:
    """Return a classifier of sounds with the convolution modules of the conformer."""
    torchvision_placeholder.install()
    from transformers import Wav2Vec2ConformerConfig, Wav2Vec2ConformerForSequenceClassification

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Wav2Vec2ConformerConfig(
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8, 8),
            conv_stride=(5, 2),
            conv_kernel=(10, 3),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            conv_depthwise_kernel_size=15,
            classifier_proj_size=8,
            num_labels=CLASSES,
        )
        network = Wav2Vec2ConformerForSequenceClassification(config)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(4.0)
    return network.eval()


def sounds(count: int = 24, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 400, generator=torch.Generator().manual_seed(seed))
