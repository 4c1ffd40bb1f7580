"""Benchmarks: ratios against a bare peer in the same run, rounds in alternating order, medians, a table."""
