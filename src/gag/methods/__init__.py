"""Methods: everything that answers questions, behind one Protocol."""
