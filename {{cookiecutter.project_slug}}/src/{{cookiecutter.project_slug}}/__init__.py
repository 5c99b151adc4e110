"""The math is in `module`, the data in `datamodule`, the command line in `train`."""
