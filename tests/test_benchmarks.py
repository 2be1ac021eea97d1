"""What benchmarks keep of their options, and which options they refuse."""

import argparse

import pytest


def test_options_are_kept_without_folders_and_with_fractions(scripts, tmp_path):
    from fit_sections.command import _options

    (tmp_path / "a.pth").touch()
    cases = ["components/2", "taps/2"]
    given = argparse.Namespace(
        sources=[str(tmp_path / "a.pth"), "hub:team/b"], zoo=tmp_path / "zoo", cases=cases, seed=0, output=tmp_path
    )
    assert _options(given) == {"sources": ["a.pth", "hub:team/b"], "zoo": "zoo", "cases": cases, "seed": 0}


def test_rows_that_no_model_has_are_refused(scripts, capsys):
    from surgery_sections.models import Models

    parser = argparse.ArgumentParser()
    Models("a network", None).add_arguments(parser)
    assert parser.parse_args(["--cases", "taps/2", "ideal8"]).cases == ["taps/2", "ideal8"]
    with pytest.raises(SystemExit):
        parser.parse_args(["--cases", "taps/2", "taps/9"])
    message = capsys.readouterr().err
    assert "invalid choice: 'taps/9' (choose from" in message
    assert "taps/2" in message.partition("choose from")[2]
