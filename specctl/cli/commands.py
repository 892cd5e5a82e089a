"""Imports every command, which registers it with the app."""

from specctl.cli import convert, info, presets, verify

__all__ = ["convert", "info", "presets", "verify"]
