"""From a comparison of trainings to one self-contained page: accuracies, parameters, scales and filters."""

from scalekeys.report.trainings.api import render_trainings_report, write_trainings_report

__all__ = ["render_trainings_report", "write_trainings_report"]
