"""Base, expert, readout, projector and injection: everything that holds a network."""
