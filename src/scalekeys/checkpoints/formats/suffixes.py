"""What the files of each format are usually called: hints where the content of a file does not tell its format."""

SAFETENSORS = (".safetensors",)
TORCH = (".pth", ".pt", ".bin", ".ckpt", ".pth.tar")
ONNX = (".onnx",)
EXPORTED = (".pt2",)
NUMPY = (".npz",)
KERAS = (".keras", ".weights.h5", ".h5", ".hdf5")
TFLITE = (".tflite",)
TFJS = (".json",)  # as many other files, so that their content must tell
NEMO = (".nemo",)
PICKLE = (".pdparams",)  # a .pkl is as often something else

DISTRIBUTED = ".metadata"
"""The file in a folder of ``torch.distributed.checkpoint`` that lists all tensors."""

OF_WEIGHTS = (*SAFETENSORS, *TORCH, *ONNX, *EXPORTED, *KERAS, *TFLITE, *NEMO, *PICKLE)
"""What the files of weights in a folder are called, the preferred ones first; an .npz or .json is as often something
else."""
