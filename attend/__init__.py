"""The library that *Learning to Attend* builds, named by concept."""
