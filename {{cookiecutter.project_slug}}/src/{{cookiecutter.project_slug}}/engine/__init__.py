"""What is neither math nor stock Lightning: the same for every model and every dataset."""
