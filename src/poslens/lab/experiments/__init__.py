"""Experiments that come with PosLens: the TOML files of this folder."""
