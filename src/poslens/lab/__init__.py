"""Train matched models that differ in how they know where a token is, and evaluate them.

Needs the extra ``torch``.
"""
