"""What depthwise layers computed axis by axis lose, and how much faster they are.

    OMP_NUM_THREADS=1 python benchmarks/separate.py accuracy --threads 1
    OMP_NUM_THREADS=1 python benchmarks/separate.py responses --threads 1
    OMP_NUM_THREADS=1 python benchmarks/separate.py layers --threads 1
    OMP_NUM_THREADS=1 python benchmarks/separate.py large --threads 1
    OMP_NUM_THREADS=1 python benchmarks/separate.py timm --threads 1
    OMP_NUM_THREADS=1 python benchmarks/separate.py trained --weights denoiser_31.safetensors --threads 1

The figures go into ``results/separate.json``.
"""

from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS
from separate_sections import accuracy, layers, responses, trained
from separate_sections.speed import ARCHITECTURES, LARGE_KERNELS

SECTIONS: dict[str, Section] = {
    "accuracy": accuracy,
    "responses": responses,
    "layers": layers,
    "large": LARGE_KERNELS,
    "timm": ARCHITECTURES,
    "trained": trained,
}

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("separate.json"))
