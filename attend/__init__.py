"""The library that the chapters of *Learning to Attend* build, named by concept."""
