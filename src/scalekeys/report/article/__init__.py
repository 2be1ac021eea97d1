"""A study as an article: one page, its figures for print, and its tables as data and as LaTeX."""

from scalekeys.report.article.api import write_article

__all__ = ["write_article"]
