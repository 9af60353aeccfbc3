"""Methods: everything that answers questions, behind one Protocol; third parties add theirs by `gag.methods`."""
