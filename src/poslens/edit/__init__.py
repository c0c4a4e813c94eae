"""Act on positions: a table in fewer numbers, a longer context, and what either costs.

The room's parts, in the order in which they are used: methods (`compression`, `extension`,
`rope`) turn rows into rows and know NumPy and SciPy only; `scoring` runs a model with each
variant (torch and transformers, imported when a model is asked for); `results` holds what was
found; `writing` writes a checkpoint that transformers loads.
"""
