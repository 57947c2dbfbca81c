"""Tests; they mirror `moa/`."""
