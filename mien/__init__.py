"""mien: a workbench for facial-expression models. One file is one experiment."""

__version__ = "0.1.0"
