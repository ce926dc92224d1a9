"""Mintmark: a self-hosted Python package index whose uploads need no stored secret."""

__version__ = "0.1.0"
