"""How a study is shown: in a terminal, in a notebook, and as one HTML page with figures.

This room knows `poslens.study` alone. It computes no measure: every number that it prints is one
of the study's.
"""
