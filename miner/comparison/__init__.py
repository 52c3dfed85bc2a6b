"""Comparison of runs: which settings differ, and what each of them is worth."""
