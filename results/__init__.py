"""Figures of runs too long for a chapter, one small JSON each."""
