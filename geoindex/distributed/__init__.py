"""The heavy steps of a build on many computers: the same step functions, handed to Ray."""
