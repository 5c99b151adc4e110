"""How data are read, split and batched; `datamodule.py` says which data and how they are encoded."""
