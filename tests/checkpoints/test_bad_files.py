"""Every bad input is one clear sentence."""

import os
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError
