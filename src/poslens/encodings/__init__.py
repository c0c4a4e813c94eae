"""What each position scheme adds, as pure NumPy functions: one module per scheme."""
