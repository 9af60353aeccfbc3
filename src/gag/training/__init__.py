"""Training: the expert, its knowledge states, and the alignment of the projector (paper: stages one and two)."""
