"""Build-time scripts behind the Makefile: `make help` says what each is for."""
