"""Tests of the exercises, one folder a chapter, one file a question."""
