"""The training step on accelerators: exported here, planned and compiled by their compilers, run where there is one.

`export_step` needs the project's environment, all others that of `make accelerator-tools`, which has JAX and no
TensorFlow. docs/accelerators.md says what they measured.
"""
